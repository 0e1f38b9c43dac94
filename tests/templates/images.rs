//! Images, made and read.

/// A PNG of RGB pixels.
pub fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            pixels.extend(pixel(x, y));
        }
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a head");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    out
}

/// Width, height and pixels of a PNG.
#[track_caller]
pub fn read_png(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
    let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    pixels.truncate(frame.buffer_size());
    (frame.width, frame.height, pixels)
}

/// Width and height of a JPEG, from its frame header (ITU-T T.81, B.2.2).
#[track_caller]
pub fn jpeg_size(bytes: &[u8]) -> (u16, u16) {
    let mut rest = bytes.strip_prefix(b"\xff\xd8").expect("a JPEG");
    loop {
        let [0xff, marker, high, low, segment @ ..] = rest else {
            panic!("no frame header");
        };
        if matches!(marker, 0xc0..=0xc2) {
            let pair = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
            return (pair(3), pair(1));
        }
        rest = &segment[usize::from(u16::from_be_bytes([*high, *low])) - 2..];
    }
}

/// A filled shape, turned by some 17 degrees, that takes two thirds of a square PNG.
pub fn drawn(label: &str, side: u32, ink: u8, back: u8) -> Vec<u8> {
    let (cos, sin) = (0.3_f32.cos(), 0.3_f32.sin());
    let middle = side as f32 / 2.0;
    png(side, side, |x, y| {
        let (x, y) = (
            (x as f32 + 0.5 - middle) / middle,
            (y as f32 + 0.5 - middle) / middle,
        );
        let (x, y) = (x * cos + y * sin, y * cos - x * sin);
        let is_inside = match label {
            "circle" => x.hypot(y) < 0.6,
            "square" => x.abs().max(y.abs()) < 0.5,
            _ => y < 0.35 && y > 3_f32.sqrt() * x.abs() - 0.7,
        };
        [if is_inside { ink } else { back }; 3]
    })
}
