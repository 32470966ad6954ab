//! Prints the public interface of the library, one item a line, from the JSON of rustdoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args().nth(1).ok_or("name the JSON of rustdoc")?;
    // The impls that every type has, or that a derive writes, say nothing of this library.
    let interface = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    print!("{interface}");
    Ok(())
}
