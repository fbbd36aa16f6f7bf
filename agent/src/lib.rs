//! The management client of one region: enrolment, upstream sync, relay
