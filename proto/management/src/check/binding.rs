//! What a Binding must be like by itself; the rest is in `consistency`.

use super::{Verdict, tenancy::check_distinct};
use crate::{Problem, ProblemName, kinds::BindingSpec};

pub(super) fn check(spec: &BindingSpec) -> Verdict {
    check_distinct("regions.names", &spec.regions.names)?;
    spec.regions.labels.check().map_err(|error| {
        Problem::new(ProblemName::Invalid, error.to_string())
            .at("spec.regions.labels")
            .remedy("change the label")
    })
}
