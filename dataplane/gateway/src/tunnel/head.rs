//! What an entry says of a request that it tunnels: one header, `environment=production;route=route/acme/orders;epoch=1.7;application=shop`.

use hanse_runtime::Epoch;
use hanse_topology::Name;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header. Only an entry writes it, and no client's goes on.
pub const HEADER: HeaderName = HeaderName::from_static("hanse-tunnel");

const ENVIRONMENT: &str = "environment";
const ROUTE: &str = "route";
const EPOCH: &str = "epoch";
const APPLICATION: &str = "application";

/// What an entry found of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelHead {
    /// The environment that the request is for.
    pub environment: Name,
    /// The key of the Route.
    pub route: Box<str>,
    /// Of the decision that sent it away; `None`: the Route itself says where it is served.
    pub epoch: Option<Epoch>,
    /// Who calls, for the exit's access log.
    pub application: Option<Box<str>>,
}

impl TunnelHead {
    /// As the header has it; `None`: a key has octets that it cannot carry.
    pub fn write(&self) -> Option<HeaderValue> {
        let Self { environment, route, epoch, application } = self;
        if !is_plain(route) {
            return None;
        }
        let mut text = format!("{ENVIRONMENT}={environment};{ROUTE}={route}");
        if let Some(Epoch { generation, revision }) = epoch {
            text.push_str(&format!(";{EPOCH}={generation}.{revision}"));
        }
        if let Some(application) = application.as_ref().filter(|name| is_plain(name)) {
            text.push_str(&format!(";{APPLICATION}={application}"));
        }
        HeaderValue::try_from(text).ok()
    }

    /// The one of a request; `None`: there is none, there are two, or it cannot be read. A field that a later release adds is passed
    /// over.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(&HEADER).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let mut fields = [None; 4];
        for field in line.to_str().ok()?.split(';') {
            let (name, value) = field.split_once('=')?;
            let Some(at) = [ENVIRONMENT, ROUTE, EPOCH, APPLICATION].iter().position(|own| *own == name)
            else {
                continue;
            };
            if fields[at].replace(value).is_some() {
                return None; // which one counts?
            }
        }
        let [environment, route, epoch, application] = fields;
        let epoch = match epoch {
            None => None,
            Some(text) => {
                let (generation, revision) = text.split_once('.')?;
                Some(Epoch { generation: generation.parse().ok()?, revision: revision.parse().ok()? })
            }
        };
        Some(Self {
            environment: Name::new(environment?).ok()?,
            route: route?.into(),
            epoch,
            application: application.map(Into::into),
        })
    }
}

/// Whether a value can stand in the header. Keys and names of Hanse can.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> TunnelHead {
        TunnelHead {
            environment: Name::new("production").unwrap(),
            route: "route/acme/orders".into(),
            epoch: Some(Epoch { generation: 1, revision: 7 }),
            application: Some("shop".into()),
        }
    }

    fn read(lines: &[&str]) -> Option<TunnelHead> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, HeaderValue::from_str(line).unwrap());
        }
        TunnelHead::read(&headers)
    }

    #[test]
    fn what_is_written_is_read() {
        let check = |head: TunnelHead, text: &str| {
            assert_eq!(head.write().unwrap(), text);
            assert_eq!(read(&[text]), Some(head));
        };
        check(head(), "environment=production;route=route/acme/orders;epoch=1.7;application=shop");
        let shortest = TunnelHead { epoch: None, application: None, ..head() };
        check(shortest, "environment=production;route=route/acme/orders");
        let odd = TunnelHead { application: Some("a;route=b".into()), ..head() };
        assert_eq!(odd.write().unwrap(), "environment=production;route=route/acme/orders;epoch=1.7");
        assert_eq!(TunnelHead { route: "a;epoch=9.9".into(), ..head() }.write(), None);
    }

    #[test]
    fn what_is_unclear_is_refused_and_what_is_new_is_passed_over() {
        let good = "environment=production;route=r";
        assert!(read(&[good]).is_some() && read(&[&format!("{good};later=x")]).is_some());
        for bad in [
            "",
            "production",
            "environment=production",
            "route=r",
            "environment=*;route=r",
            "environment=production;route=r;route=s",
            "environment=production;route=r;epoch=7",
            "environment=production;route=r;epoch=-1.7",
            "environment=production;route=r;",
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!((read(&[]), read(&[good, good])), (None, None));
    }
}
