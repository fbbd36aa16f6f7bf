//! The API data plane: routes, authenticates, limits, mediates, proxies
