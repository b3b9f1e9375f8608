//! A loss of one's own, its derivatives checked against finite differences, and what a mistake looks like.
//!
//! `cargo run --example check_my_loss`

use osculate::{Array, Device, Func, Result, check, spec};

fn main() -> Result<()> {
    // Student-t regression: robust, and convex nowhere far from the data.
    let loss = Func::trace(spec([3]), (spec([3]), spec([])), |_, w, (x, y)| {
        let residual = y - w.dot(x);
        2.0 * (residual.square() / 3.0).ln_1p()
    })?;
    let w = Array::new([3], vec![0.3, -1.0, 0.5])?;
    let example = (Array::new([3], vec![1.0, 0.2, -0.7])?, Array::scalar(2.0));

    println!("derivatives along a random direction, against central differences:\n");
    println!("{}", check::derivatives(&loss, &w, &example, 4)?);

    let hessian = loss.hessian()?.compile::<f64>(&Device::cpu())?.run(&w, &example)?;
    println!("the Hessian:");
    hessian.values().chunks(3).for_each(|row| println!("{row:>10.5?}"));

    // A shape that does not fit is an error with the line that wrote it, not a panic.
    let wrong = Func::trace(spec([3]), spec([2]), |_, w, x| w.dot(x));
    if let Err(error) = wrong {
        println!("\na mistake reads: {error}");
    }
    Ok(())
}
