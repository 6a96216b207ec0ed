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
        let hash = self.hash(&cookie[..16], client);
        cookie[16..].copy_from_slice(&hash);
        Some(cookie)
    }

    /// Whether a request's cookie is one of ours: the client has had a reply at this address within the last hour.
    pub fn is_ours(&self, request: &[u8], client: IpAddr, now_secs: u32) -> bool {
        let Ok(cookie) = <&[u8; 24]>::try_from(request) else { return false };
        let (front, hash) = cookie.split_at(16);
        let made_secs = u32::from_be_bytes([front[12], front[13], front[14], front[15]]);
        // RFC 9018 §4.3: serial number arithmetic; an hour back, five minutes ahead.
        let age_secs = now_secs.wrapping_sub(made_secs) as i32;
        front[8] == 1 && (-300..=3600).contains(&age_secs) && self.hash(front, client) == *hash
    }

    fn hash(&self, front: &[u8], client: IpAddr) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(front);
        match client {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.finish().to_le_bytes()
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

    #[test]
    fn a_cookie_is_ours_for_an_hour_at_the_address_that_it_was_made_for() {
        let (cookies, client) = (Cookies::new([7; 16]), "198.51.100.100".parse().unwrap());
        let now = 1_559_731_985;
        let cookie = cookies.reply(&[1; 8], client, now).unwrap();
        let is_ours = |cookie: &[u8], client: &str, at| cookies.is_ours(cookie, client.parse().unwrap(), at);
        for (at, expected) in
            [(now, true), (now + 3600, true), (now + 3601, false), (now - 300, true), (now - 301, false)]
        {
            assert_eq!(is_ours(&cookie, "198.51.100.100", at), expected, "{at}");
        }
        assert!(!is_ours(&cookie, "198.51.100.101", now) && !is_ours(&cookie[..8], "198.51.100.100", now));
        for at in 0..cookie.len() {
            let mut other = cookie;
            other[at] ^= 1;
            assert!(!is_ours(&other, "198.51.100.100", now), "byte {at}");
        }
        assert!(!Cookies::new([8; 16]).is_ours(&cookie, client, now));
    }
}
