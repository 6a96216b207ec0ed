//! DNS cookies (RFC 7873) in the interoperable form of RFC 9018.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// Makes server cookies.
pub struct Cookies {
    secret: [u8; 16],
}

impl Cookies {
    /// Cookies of a secret that nobody else knows.
    pub fn new(secret: [u8; 16]) -> Cookies {
        Cookies { secret }
    }

    /// The COOKIE option's bytes for a reply: the client's cookie and ours for its address.
    pub fn reply(&self, request: &[u8], client: IpAddr, now_secs: u32) -> Option<[u8; 24]> {
        let client_cookie: &[u8; 8] = request.first_chunk()?;
        let mut cookie = [0; 24];
        cookie[..8].copy_from_slice(client_cookie);
        // RFC 9018 §4: version 1, three reserved bytes, the time.
        cookie[8] = 1;
        cookie[12..16].copy_from_slice(&now_secs.to_be_bytes());
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&cookie[..16]);
        match client {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        cookie[16..].copy_from_slice(&hasher.finish().to_le_bytes());
        Some(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_that_of_rfc_9018_appendix_a() {
        let secret = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
        let client_cookie = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
        let cookie = Cookies::new(secret)
            .reply(&client_cookie, "198.51.100.100".parse().unwrap(), 1_559_731_985)
            .unwrap();
        let expected = 0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480_u128.to_be_bytes();
        assert_eq!(cookie[8..], expected);
    }
}
