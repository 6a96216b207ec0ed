//! Control frames of Frame Streams (<https://farsightsec.github.io/fstrm/>): how a sender and a collector begin and end.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What the data frames hold.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// The one field that control frames have.
const FIELD_CONTENT_TYPE: u32 = 1;

/// The longest control frame that is read, as in fstrm.
const CONTROL_BYTES_MAX: u32 = 512;

/// What a control frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

impl Control {
    /// Whether the frame names what the data frames hold.
    fn has_content_type(self) -> bool {
        matches!(self, Control::Accept | Control::Start | Control::Ready)
    }

    fn bytes(self) -> Vec<u8> {
        let mut control = (self as u32).to_be_bytes().to_vec();
        if self.has_content_type() {
            control.extend(FIELD_CONTENT_TYPE.to_be_bytes());
            control.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
            control.extend_from_slice(CONTENT_TYPE);
        }
        // A length of zero announces a control frame.
        [&0_u32.to_be_bytes(), &(control.len() as u32).to_be_bytes(), control.as_slice()].concat()
    }
}

/// Has the collector take data frames of ours.
pub(super) async fn begin(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&Control::Ready.bytes()).await?;
    expect(stream, Control::Accept).await?;
    stream.write_all(&Control::Start.bytes()).await
}

/// Ends, once the collector has all.
pub(super) async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&Control::Stop.bytes()).await?;
    expect(stream, Control::Finish).await
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), expected: Control) -> io::Result<()> {
    let [escape, length] = [stream.read_u32().await?, stream.read_u32().await?];
    if escape != 0 || !(4..=CONTROL_BYTES_MAX).contains(&length) {
        return Err(wrong("it does not speak Frame Streams"));
    }
    let mut control = vec![0; length as usize];
    stream.read_exact(&mut control).await?;
    let (number, mut fields) = control.split_first_chunk().ok_or_else(|| wrong("a frame is cut short"))?;
    if u32::from_be_bytes(*number) != expected as u32 {
        return Err(wrong("a frame came out of turn"));
    }
    if !expected.has_content_type() {
        return Ok(());
    }
    while let Some((field, rest)) = fields.split_first_chunk() {
        let field_of = |rest| -> Option<(&[u8], &[u8])> {
            let (length, rest) = <[u8]>::split_first_chunk(rest)?;
            rest.split_at_checked(u32::from_be_bytes(*length) as usize)
        };
        let (value, rest) = field_of(rest).ok_or_else(|| wrong("a frame is cut short"))?;
        if u32::from_be_bytes(*field) == FIELD_CONTENT_TYPE && value == CONTENT_TYPE {
            return Ok(());
        }
        fields = rest;
    }
    Err(wrong("it does not take dnstap"))
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_begins_and_ends_as_the_protocol_says() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let collector = tokio::spawn(async move {
            let mut frame = [0; 42];
            theirs.read_exact(&mut frame).await.unwrap();
            assert_eq!(&frame[..20], b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16");
            assert_eq!(&frame[20..], CONTENT_TYPE);
            // Another type beside ours is no matter.
            theirs.write_all(b"\0\0\0\0\0\0\0\x2f\0\0\0\x01\0\0\0\x01\0\0\0\x05other").await.unwrap();
            theirs.write_all(b"\0\0\0\x01\0\0\0\x16").await.unwrap();
            theirs.write_all(CONTENT_TYPE).await.unwrap();
            theirs.read_exact(&mut frame).await.unwrap();
            assert_eq!(&frame[..12], b"\0\0\0\0\0\0\0\x22\0\0\0\x02");
            theirs.read_exact(&mut frame[..12]).await.unwrap();
            assert_eq!(&frame[..12], b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
            theirs.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x05").await.unwrap();
        });
        begin(&mut ours).await.unwrap();
        end(&mut ours).await.unwrap();
        collector.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_collector_of_dnstap_is_told_apart() {
        for (said, why) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "Frame Streams"),
            (b"\0\0\0\0\0\0\xff\xff", "Frame Streams"),
            (b"\0\0\0\0\0\0\0\x04\0\0\0\x05", "out of turn"),
            (b"\0\0\0\0\0\0\0\x04\0\0\0\x01", "does not take dnstap"),
            (b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x01\0\0\0\x01x", "does not take dnstap"),
            (b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\0\x09", "cut short"),
        ] {
            let (mut ours, mut theirs) = tokio::io::duplex(1024);
            theirs.write_all(said).await.unwrap();
            let error = begin(&mut ours).await.unwrap_err();
            assert!(error.to_string().contains(why), "{said:?}: {error}");
        }
    }
}
