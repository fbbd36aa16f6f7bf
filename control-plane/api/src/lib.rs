//! The operator API: REST, OpenAPI, authentication
