//! Every elementwise function at its edges: value, first and second derivative, f32 and f64, against 60 digits.
//!
//! Every row of the tables is looked at, as soon as it is there, and every activation of the layers: at zeros of both signs, the
//! smallest and largest numbers, infinities, NaN, in both tails, at kinks and poles. `data/elementwise_edges.py` made the references.

use osculate::{Array, Device, Expr, Func, Real, elementwise, elementwise2, nn, spec};

const REFERENCES: &str = include_str!("data/elementwise_edges.txt");

/// Largest errors by order, in units of the last place of the true number (of the least normal one, below it).
const BOUNDS: [f64; 3] = [4.0, 8.0, 32.0];

/// What is allowed more.
struct Exception {
    name: &'static str,
    order: usize,
    bound: f64,
    /// Of a true number, and the least normal one.
    where_: fn(f64, f64) -> bool,
}

const fn more(name: &'static str, order: usize, bound: f64, where_: fn(f64, f64) -> bool) -> Exception {
    Exception { name, order, bound, where_ }
}

const EVERYWHERE: fn(f64, f64) -> bool = |_, _| true;
const SUBNORMAL: fn(f64, f64) -> bool = |truth, least| truth.abs() < least;

const EXCEPTIONS: &[Exception] = &[
    // Every product of a power rounds.
    more("powi(-12)", 0, 12.0, EVERYWHERE),
    more("powi(-12)", 1, 13.0, EVERYWHERE),
    more("powi(-12)", 2, 156.0, SUBNORMAL),
    // Its two terms cancel where it crosses 0, near -1.28: they are 50 times as large.
    more("silu", 1, 100.0, |truth, least| truth.abs() < 0.005 && truth.abs() >= least),
    // A number below the least normal one, which has few digits, is multiplied by x or by its square.
    more("silu", 2, 744.0, SUBNORMAL),
    more("gelu", 1, 39.0, SUBNORMAL),
    more("gelu", 2, 1500.0, SUBNORMAL),
    more("normal_pdf", 1, 39.0, SUBNORMAL),
    more("normal_pdf", 2, 1500.0, SUBNORMAL),
    // The same by the logarithm.
    more("pow", 2, 1000.0, SUBNORMAL),
    // What rounding z - 1 and x - z loses is multiplied by ln x and counts as it stands.
    more("pow", 1, 400.0, EVERYWHERE),
    more("logaddexp", 1, 32.0, EVERYWHERE),
];

/// What is asked of a number.
#[derive(Debug, Clone, Copy)]
enum Want {
    Number(f64),
    /// An infinity of either sign.
    Infinite,
    Anything,
}

impl Want {
    fn parse(text: &str) -> Want {
        match text {
            "*" => Want::Anything,
            "~inf" => Want::Infinite,
            number => Want::Number(number.parse().expect("a number")),
        }
    }

    /// How far off a number is, in units of the last place.
    fn error<T: Real>(self, got: T) -> f64 {
        let right = |right: bool| if right { 0.0 } else { f64::INFINITY };
        let want = match self {
            Want::Anything => return 0.0,
            Want::Infinite => return right(got.is_infinite()),
            Want::Number(want) => want,
        };
        if want.is_nan() || got.is_nan() {
            return right(want.is_nan() && got.is_nan());
        }
        let rounded = T::from_f64(want);
        let most = T::max_value().to_f64();
        // Beyond the largest number there is infinity, as far off as the next number would be.
        let [got, want] = [(got.to_f64(), got.is_infinite()), (rounded.to_f64(), rounded.is_infinite())]
            .map(|(v, infinite)| if infinite { most.copysign(v) * (1.0 + T::epsilon().to_f64() / 2.0) } else { v });
        if got == want {
            return 0.0;
        }
        let truth = if rounded.is_infinite() {
            want
        } else {
            match self {
                Want::Number(v) => v,
                _ => want,
            }
        };
        let binade = truth.abs().clamp(T::min_positive_value().to_f64(), most).log2().floor();
        ((got - truth) / binade.exp2()).abs() / T::epsilon().to_f64()
    }
}

/// The references of one type.
struct Table<'a> {
    kind: &'a str,
}

impl<'a> Table<'a> {
    fn line(&self, name: &str, order: &str) -> Option<Vec<&'a str>> {
        REFERENCES.lines().find_map(|line| {
            let mut words = line.split(' ');
            let mut is = |word: &str| word.is_empty() || words.next() == Some(word);
            (is(name) && is(self.kind) && is(order)).then(|| words.collect())
        })
    }

    fn points<T: Real>(&self, name: &str) -> Vec<T> {
        let line = self.line(name, "").expect("points");
        line.into_iter().map(|x| T::from_f64(x.parse().expect("a number"))).collect()
    }

    fn wanted(&self, name: &str, order: &str) -> Vec<Want> {
        let line = self.line(name, order);
        let missing = || panic!("{name} has no references: add it to tests/data/elementwise_edges.py and run that");
        line.unwrap_or_else(missing).into_iter().map(Want::parse).collect()
    }
}

/// What was compared, and what was wrong.
#[derive(Default)]
struct Tally {
    compared: usize,
    wrong: Vec<String>,
    worst: Vec<(f64, String)>,
}

impl Tally {
    fn compare<T: Real>(&mut self, name: &str, order: usize, what: &str, at: &[String], want: &[Want], got: &[T]) {
        assert_eq!((want.len(), at.len()), (got.len(), got.len()), "{name} {what}");
        let least = T::min_positive_value().to_f64();
        let mut worst = (0.0, String::new());
        for ((at, want), &got) in at.iter().zip(want).zip(got) {
            let error = want.error(got);
            let truth = if let Want::Number(truth) = *want { truth } else { 0.0 };
            let allowed = |e: &&Exception| e.name == name && e.order == order && (e.where_)(truth, least);
            let bound = EXCEPTIONS.iter().find(allowed).map_or(BOUNDS[order], |e| e.bound);
            let line =
                || format!("{name} {}, {what} at {at}: {:e}, {error:.1} ulp from {want:?}", T::NAME, got.to_f64());
            self.compared += 1;
            if error > bound {
                self.wrong.push(line());
            } else if error > worst.0 {
                worst = (error, line());
            }
        }
        self.worst.push(worst);
    }

    fn finish(mut self) {
        self.worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.worst.iter().take(12).for_each(|(_, line)| println!("largest allowed: {line}"));
        self.wrong.iter().for_each(|line| println!("WRONG {line}"));
        println!("{} combinations of function, order, type and point; {} wrong", self.compared, self.wrong.len());
        assert!(self.wrong.is_empty(), "{} of {} are wrong", self.wrong.len(), self.compared);
    }
}

fn row<T: Real>(values: &[T]) -> Array<T> {
    Array::new([values.len()], values.to_vec()).expect("an array")
}

/// A function of one argument at all points of a type, in every mode.
fn unary<T: Real>(name: &str, f: &dyn for<'t> Fn(Expr<'t>) -> Expr<'t>, tally: &mut Tally) {
    let table = Table { kind: T::NAME };
    let points: Vec<T> = table.points("points");
    let n = points.len();
    let each = Func::trace(spec([n]), spec([]), |_, x, _| f(x)).expect("a trace");
    let sum = Func::trace(spec([n]), spec([]), |_, x, _| f(x).sum()).expect("a trace");
    let (x, one, none) = (row(&points), row(&vec![T::one(); n]), Array::scalar(T::zero()));
    let cpu = Device::cpu();
    let jvp = each.jvp().expect("jvp");
    let pair = (x.clone(), one.clone());
    let (value, forward) = jvp.compile::<T>(&cpu).expect("jvp").run(&pair, &none).expect("a run");
    let reverse = sum.grad().expect("grad").compile::<T>(&cpu).expect("grad").run(&x, &none).expect("a run");
    let (_, second) = sum.hvp().expect("hvp").compile::<T>(&cpu).expect("hvp").run(&pair, &none).expect("a run");
    let at: Vec<String> = points.iter().map(|&x| format!("{:e}", x.to_f64())).collect();
    for (order, what, got) in [(0, "value", value), (1, "forward", forward), (1, "reverse", reverse), (2, "Hv", second)]
    {
        tally.compare(name, order, what, &at, &table.wanted(name, &order.to_string()), got.values());
    }
}

/// A function of two arguments at all pairs of points of a type, in every mode.
fn binary<T: Real>(name: &str, f: &dyn for<'t> Fn(Expr<'t>, Expr<'t>) -> Expr<'t>, tally: &mut Tally) {
    let table = Table { kind: T::NAME };
    let points: Vec<T> = table.points("pairs");
    let (xs, zs): (Vec<T>, Vec<T>) = points.iter().flat_map(|&x| points.iter().map(move |&z| (x, z))).unzip();
    let n = xs.len();
    let both = (spec([n]), spec([n]));
    let each = Func::trace(both.clone(), spec([]), |_, (x, z), _| f(x, z)).expect("a trace");
    let sum = Func::trace(both, spec([]), |_, (x, z), _| f(x, z).sum()).expect("a trace");
    let (x, none, cpu) = ((row(&xs), row(&zs)), Array::scalar(T::zero()), Device::cpu());
    let at: Vec<String> = xs.iter().zip(&zs).map(|(&x, &z)| format!("({:e}, {:e})", x.to_f64(), z.to_f64())).collect();
    let mut compare = |order: usize, name_of: &str, what: &str, got: &[T]| {
        tally.compare(name, order, &format!("{what} {name_of}"), &at, &table.wanted(name, name_of), got);
    };
    let value = each.compile::<T>(&cpu).expect("a program").run(&x, &none).expect("a run");
    compare(0, "0", "value", value.values());
    let mut grad = sum.grad().expect("grad").compile::<T>(&cpu).expect("grad");
    let reverse = grad.run(&x, &none).expect("a run");
    compare(1, "x", "reverse", reverse.0.values());
    compare(1, "z", "reverse", reverse.1.values());
    let one = row(&vec![T::one(); n]);
    // Each argument moves alone: the other's tangent is absent, not a zero that an infinity would meet.
    for (at, first, second) in [(0, "x", "xx"), (1, "z", "zz")] {
        let (moving, held) = if at == 0 { x.clone() } else { (x.1.clone(), x.0.clone()) };
        let alone =
            Func::trace(spec([n]), spec([n]), |_, p, d| if at == 0 { f(p, d) } else { f(d, p) }).expect("a trace");
        let jvp = alone.jvp().expect("jvp").compile::<T>(&cpu).expect("jvp").run(&(moving.clone(), one.clone()), &held);
        compare(1, first, "forward", jvp.expect("a run").1.values());
        let alone = Func::trace(spec([n]), spec([n]), |_, p, d| if at == 0 { f(p, d).sum() } else { f(d, p).sum() });
        let hvp = alone.expect("a trace").hvp().expect("hvp").compile::<T>(&cpu).expect("hvp");
        let turned = { hvp }.run(&(moving, one.clone()), &held).expect("a run").1;
        compare(2, second, "Hv", turned.values());
    }
}

#[test]
fn functions_of_one_argument() {
    let tally = &mut Tally::default();
    let mut look = |name: &str, f: &dyn for<'t> Fn(Expr<'t>) -> Expr<'t>| {
        unary::<f32>(name, f, tally);
        unary::<f64>(name, f, tally);
    };
    for row in elementwise() {
        look(row.name, &|x| (row.apply)(x));
    }
    look("gelu", &|x| nn::gelu(x));
    look("silu", &|x| nn::silu(x));
    look("elu(0.5)", &|x| nn::elu(x, 0.5));
    look("leaky_relu(0.01)", &|x| nn::leaky_relu(x, 0.01));
    for power in [-12, -3, -2, -1, 0, 1, 2, 3, 5] {
        look(&format!("powi({power})"), &|x| x.powi(power));
    }
    std::mem::take(tally).finish();
}

#[test]
fn functions_of_two_arguments() {
    let tally = &mut Tally::default();
    let mut look = |name: &str, f: &dyn for<'t> Fn(Expr<'t>, Expr<'t>) -> Expr<'t>| {
        binary::<f32>(name, f, tally);
        binary::<f64>(name, f, tally);
    };
    look("divide", &|x, z| x / z);
    for row in elementwise2() {
        look(row.name, &|x, z| (row.apply)(x, z));
    }
    std::mem::take(tally).finish();
}
