//! Where a message ends (RFC 9112 §6), and how large its head may be: the only place that decides about `Content-Length` and
//! `Transfer-Encoding`.
//!
//! hyper finds the end of a body from these headers and hands them on as they came. The next hop would read them again,
//! and could find another end.

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use http_body::Body;

use crate::{
    config::{MAX_HEAD, MAX_HEADERS},
    problem::Refusal,
};

/// An answer whose end is not certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFraming {
    /// Nothing here decodes another coding, and its receiver would not know of it.
    #[error("its Transfer-Encoding is not \"chunked\" alone")]
    Coding,
    /// Not a number, or several numbers.
    #[error("its Content-Length is not one number")]
    Length,
}

/// Refuses a head that hyper accepts and the gateway does not.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.version() < Version::HTTP_2 { check_codings(request.headers()) } else { check_size(request) }
}

/// hyper looks for `chunked` at the end of the last line. What is before it would reach the upstream as plain octets.
fn check_codings(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(header::TRANSFER_ENCODING) || is_chunked(headers).is_ok() {
        return Ok(());
    }
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b','));
    let is_known = codings.all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    Err(if is_known { Refusal::BadBody } else { Refusal::TransferCoding })
}

/// HTTP/2 counts other octets, and no lines. The limits are those of HTTP/1, for the head as HTTP/1.1 writes it: the upstream's
/// server has limits of this kind.
fn check_size<B>(request: &Request<B>) -> Result<(), Refusal> {
    const LINE: usize = ": \r\n".len();
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| "host".len() + authority.as_str().len() + LINE);
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let mut octets = request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + authority;
    let mut lines = usize::from(authority > 0);
    let mut cookies = 0;
    for (name, value) in request.headers() {
        octets += value.len();
        // Clients of HTTP/2 may send cookies one by one; the upstream gets them in one line, as "cookie: a=1; b=2".
        if name != header::COOKIE {
            octets += name.as_str().len() + LINE;
            lines += 1;
        } else if cookies == 0 {
            octets += name.as_str().len() + LINE;
            cookies = 1;
        } else {
            octets += "; ".len();
        }
    }
    if octets > MAX_HEAD || lines + cookies > MAX_HEADERS { Err(Refusal::HeadTooLarge) } else { Ok(()) }
}

/// Leaves an upstream's answer with one certain end: without `Transfer-Encoding`, which is of one hop, and with at most
/// one `Content-Length`.
pub(super) fn answer(status: StatusCode, headers: &mut HeaderMap) -> Result<(), BadFraming> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        is_chunked(headers)?;
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONTENT_LENGTH); // the chunks say where it ends (RFC 9112 §6.3)
        return Ok(());
    }
    let Some(length) = length(headers)? else { return Ok(()) };
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.remove(header::CONTENT_LENGTH); // there is no body
    } else if !length.is_written_once {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length.octets));
    }
    Ok(())
}

/// Whether an answer that cannot have a body announces one. Its octets may follow, and would be read as the next answer.
pub(super) fn announces_absent_body(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_length = || matches!(length(headers), Ok(Some(length)) if length.octets > 0);
    status == StatusCode::NO_CONTENT && (headers.contains_key(header::TRANSFER_ENCODING) || has_length())
}

/// Gives a request, which has none yet, the framing of its body. An empty body has a length where the client announced one: some
/// servers ask for it (411).
pub(super) fn request<B: Body>(headers: &mut HeaderMap, announced: bool, body: &B) {
    match body.size_hint().exact() {
        Some(0) if !announced => {}
        Some(octets) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(octets))),
        // hyper's client frames no body of GET, HEAD or CONNECT by itself: it would drop it in silence.
        None => drop(headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}

fn is_chunked(headers: &HeaderMap) -> Result<(), BadFraming> {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(BadFraming::Coding),
    }
}

struct Length {
    octets: u64,
    is_written_once: bool,
}

/// The number that all lines and all members of their lists agree on (RFC 9110 §8.6).
fn length(headers: &HeaderMap) -> Result<Option<Length>, BadFraming> {
    let mut found: Option<Length> = None;
    let lines = headers.get_all(header::CONTENT_LENGTH).iter();
    for member in lines.flat_map(|line| line.as_bytes().split(|&octet| octet == b',')) {
        let octets = number(member.trim_ascii()).ok_or(BadFraming::Length)?;
        found = match found {
            None => Some(Length { octets, is_written_once: true }),
            Some(before) if before.octets == octets => Some(Length { octets, is_written_once: false }),
            Some(_) => return Err(BadFraming::Length),
        };
    }
    Ok(found)
}

/// Digits only: `+4` is a number for some parsers.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn codings_before_chunked_are_not_decoded_and_so_refused() {
        let check = |given: &[&str], wanted: Result<(), Refusal>| {
            let lines: Vec<String> = given.iter().map(|value| format!("transfer-encoding:{value}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut request = Request::new(());
            *request.headers_mut() = map(&lines);
            assert_eq!(super::check(&request), wanted, "{given:?}");
        };
        check(&[], Ok(()));
        check(&["chunked"], Ok(()));
        check(&[" CHUNKED "], Ok(()));
        check(&["gzip, chunked"], Err(Refusal::TransferCoding));
        check(&["gzip", "chunked"], Err(Refusal::TransferCoding));
        check(&["identity, chunked"], Err(Refusal::TransferCoding));
        check(&[", chunked"], Err(Refusal::TransferCoding));
        check(&["chunked, chunked"], Err(Refusal::BadBody));
        check(&["chunked", "chunked"], Err(Refusal::BadBody));
    }

    #[test]
    fn a_head_of_http_2_is_measured_as_http_1_1_writes_it() {
        let of = |uri: &str, lines: usize, value: &str| {
            let mut request = Request::builder().version(Version::HTTP_2).uri(uri).body(()).unwrap();
            for number in 0..lines {
                let name = header::HeaderName::try_from(format!("x-{number:03}")).unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            request
        };
        assert_eq!(check(&of("https://a/", 99, "")), Ok(()));
        assert_eq!(check(&of("https://a/", 100, "")), Err(Refusal::HeadTooLarge));
        let mut cookies = of("https://a/", 98, "");
        for _ in 0..200 {
            cookies.headers_mut().append(header::COOKIE, "a=1".parse().unwrap());
        }
        assert_eq!(check(&cookies), Ok(()));
        // All are one line: "cookie: a=1; a=1".
        let mut crumbs = of("https://a/", 0, "");
        let room = MAX_HEAD - "GET / HTTP/1.1\r\nhost: a\r\ncookie: \r\n\r\n".len();
        for _ in 0..room / "a=1; ".len() {
            crumbs.headers_mut().append(header::COOKIE, "a=1".parse().unwrap());
        }
        assert_eq!(check(&crumbs), Ok(()));
        crumbs.headers_mut().append(header::COOKIE, "a=12345".parse().unwrap());
        assert_eq!(check(&crumbs), Err(Refusal::HeadTooLarge));
        // One line more than the empty head: "GET / HTTP/1.1", "host: a", "x-000: …", "".
        let rest = MAX_HEAD - "GET / HTTP/1.1\r\nhost: a\r\nx-000: \r\n\r\n".len();
        assert_eq!(check(&of("https://a/", 1, &"v".repeat(rest))), Ok(()));
        assert_eq!(check(&of("https://a/", 1, &"v".repeat(rest + 1))), Err(Refusal::HeadTooLarge));
        assert_eq!(check(&of("https://a/b", 1, &"v".repeat(rest))), Err(Refusal::HeadTooLarge));
    }

    /// Lines such as `content-length: 2`.
    fn map(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            map.append(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}:{}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_answer_keeps_one_certain_end() {
        let of = |status: u16, given: &[&str]| -> Result<Vec<String>, BadFraming> {
            let mut headers = map(given);
            answer(StatusCode::from_u16(status).unwrap(), &mut headers).map(|()| lines(&headers))
        };
        let check = |status: u16, given: &[&str], kept: &[&str]| {
            assert_eq!(of(status, given).unwrap(), kept, "{status} {given:?}");
        };
        check(200, &[], &[]);
        check(200, &["content-length:2"], &["content-length:2"]);
        check(200, &["content-length:2, 2"], &["content-length:2"]);
        check(200, &["content-length:2", "content-length:2"], &["content-length:2"]);
        check(200, &["transfer-encoding:chunked"], &[]);
        check(200, &["transfer-encoding:Chunked "], &[]);
        check(200, &["content-length:4", "transfer-encoding:chunked"], &[]);
        check(200, &["transfer-encoding:chunked", "content-length:x"], &[]);
        check(204, &["content-length:0"], &[]);
        check(304, &["content-length:7"], &[]);
        for bad in [
            &["transfer-encoding:gzip"][..],
            &["transfer-encoding:gzip, chunked"],
            &["transfer-encoding:chunked", "transfer-encoding:chunked"],
            &["transfer-encoding:chunked, chunked"],
            &["transfer-encoding:"],
            &["transfer-encoding:identity"],
        ] {
            assert_eq!(of(200, bad), Err(BadFraming::Coding), "{bad:?}");
        }
        for bad in [
            &["content-length:2, 3"][..],
            &["content-length:2", "content-length:3"],
            &["content-length:+2"],
            &["content-length:-2"],
            &["content-length:2 2"],
            &["content-length:"],
            &["content-length:2,"],
            &["content-length:18446744073709551616"],
        ] {
            assert_eq!(of(304, bad), Err(BadFraming::Length), "{bad:?}");
        }
    }

    #[test]
    fn only_204_announces_a_body_that_is_absent() {
        let check = |status: u16, lines: &[&str], wanted: bool| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(announces_absent_body(status, &map(lines)), wanted, "{status} {lines:?}");
        };
        check(204, &[], false);
        check(204, &["content-length:0"], false);
        check(204, &["content-length:2"], true);
        check(204, &["content-length:2, 2"], true);
        check(204, &["transfer-encoding:chunked"], true);
        check(304, &["content-length:2"], false);
        check(200, &["content-length:2"], false);
    }

    #[test]
    fn a_request_has_the_framing_of_its_body() {
        struct Unknown;
        impl Body for Unknown {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        fn check<B: Body>(announced: bool, body: &B, wanted: &[&str]) {
            let mut headers = HeaderMap::new();
            request(&mut headers, announced, body);
            assert_eq!(lines(&headers), wanted, "{announced}");
        }
        check(false, &Full::<Bytes>::default(), &[]);
        check(true, &Full::<Bytes>::default(), &["content-length:0"]);
        check(false, &Full::<Bytes>::from("four"), &["content-length:4"]);
        check(true, &Full::<Bytes>::from("four"), &["content-length:4"]);
        check(true, &Unknown, &["transfer-encoding:chunked"]);
        check(false, &Unknown, &["transfer-encoding:chunked"]);
    }
}
