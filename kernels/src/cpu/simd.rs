//! Instruction sets: kernels are compiled for each, and the widest that the machine has is chosen when an executor is made.

use std::sync::OnceLock;

use crate::Error;

/// An instruction set that this machine has.
///
/// Elementwise results have the same bits with every set; products may differ in the last digits, for want of fused multiply-adds and,
/// in f32, of convolutions by transforms.
///
/// ```
/// use osculate_kernels::Simd;
/// assert!(Simd::available().contains(&Simd::best()));
/// println!("{}", Simd::best()); // "avx512"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simd(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Level {
    /// What the build assumes: SSE2 on x86-64, NEON on aarch64.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    const ALL: &[Level] = &[
        Level::Portable,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512,
    ];

    fn is_here(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
                wide && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512bw")
            }
        }
    }
}

/// The variable that narrows the choice.
const VARIABLE: &str = "OSCULATE_SIMD";

impl Simd {
    /// All that this machine has, the narrowest first.
    pub fn available() -> Vec<Simd> {
        Simd::found().collect()
    }

    /// The widest.
    pub fn best() -> Simd {
        Simd::found().last().unwrap_or_else(Simd::portable)
    }

    fn found() -> impl Iterator<Item = Simd> {
        Level::ALL.iter().copied().filter(|level| level.is_here()).map(Simd)
    }

    /// The widest, or the one that the environment variable `OSCULATE_SIMD` names: `portable`, `avx2` or `avx512`.
    ///
    /// # Errors
    /// [`Error::Simd`]: the variable names a set that this machine has not, or that there is not.
    pub fn chosen() -> Result<Simd, Error> {
        let Some(wanted) = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) else { return Ok(Simd::best()) };
        let available = Simd::available();
        let found = available.iter().copied().find(|simd| wanted == simd.name());
        found.ok_or_else(|| Error::Simd {
            variable: VARIABLE,
            got: wanted.to_string_lossy().into_owned(),
            have: available.iter().map(|simd| simd.name()).collect::<Vec<_>>().join(", "),
        })
    }

    /// That which was chosen when it was first asked for, where no executor holds one; the widest if the variable names none that is here
    /// (whatever makes an executor says so).
    pub(crate) fn current() -> Simd {
        static CURRENT: OnceLock<Simd> = OnceLock::new();
        *CURRENT.get_or_init(|| Simd::chosen().unwrap_or_else(|_| Simd::best()))
    }

    /// Its name, as the environment variable takes it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// What the build assumes, on every machine.
    pub fn portable() -> Simd {
        Simd(Level::Portable)
    }

    /// Replaces every value by a function of it, in the version compiled for this set; to be made of vectors, the function must be
    /// `#[inline(always)]` and without branches, like those of [`math`](crate::math).
    ///
    /// ```
    /// use osculate_kernels::{Simd, math};
    /// let mut values = [0.0, 1.0];
    /// Simd::best().each(&mut values, math::exp::<f64>);
    /// assert_eq!(values[0], 1.0);
    /// ```
    #[inline(always)]
    pub fn each<T: Copy>(self, values: &mut [T], f: impl Fn(T) -> T) {
        self.run(Each { values, f });
    }

    /// The same with a function of every value and another's.
    #[inline(always)]
    pub fn each2<T: Copy>(self, values: &mut [T], others: &[T], f: impl Fn(T, T) -> T) {
        self.run(Each2 { values, others, f });
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Runs work in the version compiled for this set.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) {
        match self.0 {
            Level::Portable => work.run(),
            // SAFETY: only `found` makes these, of what `is_here` found on this machine.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Level::Avx2 => unsafe { avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Level::Avx512 => unsafe { avx512(work) },
        }
    }
}

impl std::fmt::Display for Simd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

struct Each<'w, T, F> {
    values: &'w mut [T],
    f: F,
}

impl<T: Copy, F: Fn(T) -> T> Work for Each<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        for value in self.values {
            *value = (self.f)(*value);
        }
    }
}

struct Each2<'w, T, F> {
    values: &'w mut [T],
    others: &'w [T],
    f: F,
}

impl<T: Copy, F: Fn(T, T) -> T> Work for Each2<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        for (value, &other) in self.values.iter_mut().zip(self.others) {
            *value = (self.f)(*value, other);
        }
    }
}

/// A loop to be compiled once for every instruction set; it and what it calls must be `#[inline(always)]` to be so.
pub(crate) trait Work {
    fn run(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<W: Work>(work: W) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
fn avx512<W: Work>(work: W) {
    work.run();
}
