//! Threads that stay with a program for as long as it runs, so that sharing a command costs them no sleep.
//!
//! A sleeping thread takes tens of microseconds to wake, longer than most commands of a net of dense layers take. Helpers therefore
//! join once a program ([`Team::gather`], by rayon's `join`, which allocates nothing and waits for nobody: if the pool is busy the
//! leader does all) and look for parts of commands until it ends.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Most threads of a team: one bit each.
pub(super) const MOST: usize = 64;

/// Looks at an empty table before a thread lets others have the processor.
const PATIENCE: usize = 256;

/// A part of a command, by its index.
type Job<'j> = &'j (dyn Fn(usize) + Sync);

/// The parts that are still to be done, and who looks for them.
#[derive(Debug)]
pub(super) struct Team {
    threads: usize,
    /// Work below which a command stays with the leader.
    alone: usize,
    /// A bit for each part that nobody has taken.
    open: AtomicU64,
    /// Parts taken and done.
    done: AtomicUsize,
    /// The job that parts are of: a `Job` on the leader's stack, there until all parts are done.
    job: AtomicPtr<()>,
    /// Whether the program ended.
    over: AtomicBool,
}

impl Team {
    /// A team of one.
    pub fn one() -> Team {
        Team::of(1, usize::MAX)
    }

    fn of(threads: usize, alone: usize) -> Team {
        Team {
            threads,
            alone,
            open: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: AtomicPtr::new(std::ptr::null_mut()),
            over: AtomicBool::new(false),
        }
    }

    /// Leads a team of a number of threads of the current pool through a program; commands of less work than `alone` are not shared.
    pub fn gather(threads: usize, alone: usize, lead: &mut (dyn FnMut(&Team) + Send)) {
        let team = Team::of(threads.clamp(1, MOST), alone);
        team.join(1, lead);
    }

    /// Sends for the helpers from `member` on, then leads.
    fn join(&self, member: usize, lead: &mut (dyn FnMut(&Team) + Send)) {
        if member < self.threads {
            rayon::join(|| self.join(member + 1, lead), || self.help(member));
            return;
        }
        // However the leader ends: helpers leave.
        let _end = Finally(|| self.over.store(true, Ordering::Release));
        lead(self);
    }

    /// Threads for so much work.
    pub fn threads(&self, work: usize) -> usize {
        if work < self.alone { 1 } else { self.threads }
    }

    /// Does parts of commands until the program is over; `member` takes the part of that number first, whose data it may have at
    /// hand from the command before.
    fn help(&self, member: usize) {
        let mut patience = PATIENCE;
        while !self.over.load(Ordering::Acquire) {
            match self.take(member) {
                Some(part) => {
                    self.part(part);
                    patience = PATIENCE;
                }
                None => pause(&mut patience),
            }
        }
    }

    /// Takes an open part.
    fn take(&self, member: usize) -> Option<usize> {
        let mut open = self.open.load(Ordering::Relaxed);
        while open != 0 {
            let part = if open >> member & 1 == 1 { member } else { open.trailing_zeros() as usize };
            open = self.open.fetch_and(!(1 << part), Ordering::AcqRel);
            if open >> part & 1 == 1 {
                return Some(part);
            }
        }
        None
    }

    /// Does a part that was taken.
    #[allow(unsafe_code)]
    fn part(&self, part: usize) {
        let _done = Finally(|| _ = self.done.fetch_add(1, Ordering::Release));
        // SAFETY: whoever took a part acquired the store of `open`, before which the leader stored a pointer to its job; the leader
        // keeps the job until as many parts are done as there were, this one among them.
        let job = unsafe { *self.job.load(Ordering::Relaxed).cast::<Job<'_>>() };
        job(part);
    }

    /// Does a number of parts, this thread among those that do.
    fn each(&self, count: usize, job: Job<'_>) {
        if count <= 1 {
            return (0..count).for_each(job);
        }
        self.done.store(0, Ordering::Relaxed);
        self.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
        self.open.store(u64::MAX >> (MOST - count), Ordering::Release);
        // However this thread ends, a panic of its part among the ways: no part is left that could read the job.
        let _end = Finally(|| {
            let left = self.open.swap(0, Ordering::AcqRel).count_ones() as usize;
            let mut patience = PATIENCE;
            while self.done.load(Ordering::Acquire) + left < count {
                pause(&mut patience);
            }
        });
        while let Some(part) = self.take(0) {
            self.part(part);
        }
    }

    /// Runs `job` for each of some values, of which there are at most as many as threads can be.
    #[allow(unsafe_code)]
    pub fn parts<S: Send>(&self, values: &mut [S], job: impl Fn(usize, &mut S) + Sync) {
        assert!(values.len() <= MOST, "{} parts for at most {MOST} threads", values.len());
        let place = Place::new(values);
        // SAFETY: a part is done once, so no value is lent twice.
        self.each(values.len(), &|part| job(part, unsafe { &mut *place.at(part) }));
    }

    /// Runs `job` for consecutive chunks of a slice (the last may be shorter), each with a value of its own.
    #[allow(unsafe_code)]
    pub fn chunks<O: Send, S: Send>(
        &self,
        out: &mut [O],
        len: usize,
        values: &mut [S],
        job: impl Fn(usize, &mut [O], &mut S) + Sync,
    ) {
        let (total, count) = (out.len(), out.len().div_ceil(len.max(1)));
        let place = Place::new(out);
        self.parts(&mut values[..count], |part, value| {
            let (from, to) = (part * len, total.min(part * len + len));
            // SAFETY: chunks of parts do not overlap and lie inside.
            job(part, unsafe { std::slice::from_raw_parts_mut(place.at(from), to - from) }, value);
        });
    }
}

/// Where several threads write elements of their own.
#[derive(Debug)]
pub(super) struct Place<T>(*mut T);

impl<T> Place<T> {
    pub fn new(out: &mut [T]) -> Place<T> {
        Place(out.as_mut_ptr())
    }

    /// The address of an element.
    #[inline(always)]
    pub fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Place<T> {}

// SAFETY: whoever dereferences an address sees to it that no other thread uses the element.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Place<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Place<T> {}

/// Does something at the end of a scope, however it ends.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits a little, and lets others have the processor if it has waited for long.
fn pause(patience: &mut usize) {
    match patience.checked_sub(1) {
        Some(left) => {
            *patience = left;
            std::hint::spin_loop();
        }
        None => std::thread::yield_now(),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    }

    #[test]
    fn every_part_is_done_once() {
        // Teams larger and smaller than their pools, and within one another.
        for (threads, members) in [(1, 1), (1, 3), (2, 2), (4, 2), (3, 64), (2, 100)] {
            pool(threads).install(|| {
                Team::gather(members, 0, &mut |team| {
                    assert_eq!(team.threads(1), members.min(MOST));
                    for round in 0..2000usize {
                        let len: usize = round % 130;
                        let chunk = len.div_ceil(team.threads(1)).max(1);
                        let (mut out, mut values) = (vec![0usize; len], vec![0usize; MOST]);
                        team.chunks(&mut out, chunk, &mut values, |part, out, value| {
                            *value += 1;
                            (part * chunk..).zip(out).for_each(|(at, out)| *out += at + 1);
                        });
                        assert!(out.iter().enumerate().all(|(at, &v)| v == at + 1), "{out:?}");
                        assert!(values.iter().enumerate().all(|(at, &v)| v == usize::from(at * chunk < len)));
                    }
                });
            });
        }
    }

    #[test]
    fn teams_at_once_share_a_pool() {
        use rayon::prelude::*;
        let done = AtomicUsize::new(0);
        pool(2).install(|| {
            (0..16).into_par_iter().for_each(|_| {
                Team::gather(2, 0, &mut |team| {
                    for _ in 0..100 {
                        team.parts(&mut [0, 0], |_, _| _ = done.fetch_add(1, Ordering::Relaxed));
                    }
                });
            });
        });
        assert_eq!(done.into_inner(), 16 * 200);
    }

    #[test]
    fn a_panic_passes_and_leaves_no_one_waiting() {
        for bad in 0..2 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool(2).install(|| {
                    Team::gather(2, 0, &mut |team| {
                        team.parts(&mut [0, 0], |part, _| assert!(part != bad, "as asked"));
                    });
                });
            }));
            assert!(caught.is_err());
        }
    }
}
