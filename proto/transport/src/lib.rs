//! mTLS identity, listeners, channels, backoff, telemetry, shutdown
