//! A control-plane node: federation service, enrolment, projection, composition
