//! Fit a straight line to points, by the Lion of fastadam; bindgen makes these declarations too.
use std::os::raw::c_int;

#[repr(C)]
#[derive(Default)]
struct Hyper {
    lr: f64,
    betas: [f64; 2],
    weight_decay: f64,
}

#[repr(C)]
#[derive(Default)]
struct Constants {
    lr: f32,
    beta1_comp: f32,
    beta2_comp: f32,
    decay: f32,
}

extern "C" {
    fn fastadam_lion_defaults(hyper: *mut Hyper);
    fn fastadam_lion_prepare_f32(hyper: *const Hyper, step: i64, constants: *mut Constants) -> c_int;
    fn fastadam_lion_f32(
        param: *mut f32,
        grad: *const f32,
        exp_avg: *mut f32,
        constants: *const Constants,
        n: i64,
    ) -> c_int;
}

/// One step; the slices have one length, and Rust sees to it that they do not overlap.
fn step(param: &mut [f32], grad: &[f32], exp_avg: &mut [f32], hyper: &Hyper, number: i64) {
    assert!(param.len() == grad.len() && param.len() == exp_avg.len());
    let mut constants = Constants::default();
    let code = unsafe {
        fastadam_lion_prepare_f32(hyper, number, &mut constants).max(fastadam_lion_f32(
            param.as_mut_ptr(),
            grad.as_ptr(),
            exp_avg.as_mut_ptr(),
            &constants,
            param.len() as i64,
        ))
    };
    assert_eq!(code, 0, "see the codes in lion.h");
}

fn main() {
    let at = |i| i as f32 / 50.0 - 1.0;
    let points: Vec<(f32, f32)> = (0..100).map(|i| (at(i), 3.0 * at(i) - 1.0)).collect();
    let (mut param, mut exp_avg) = ([0f32; 2], [0f32; 2]);
    let mut hyper = Hyper::default();
    unsafe { fastadam_lion_defaults(&mut hyper) };
    for number in 1..=2000 {
        hyper.lr = 0.01 * (1.0 - number as f64 / 2001.0);
        let mut grad = [0f32; 2];
        for (x, y) in &points {
            let error = param[0] * x + param[1] - y;
            grad[0] += error * x / points.len() as f32;
            grad[1] += error / points.len() as f32;
        }
        step(&mut param, &grad, &mut exp_avg, &hyper, number);
    }
    println!("slope {:.1}, offset {:.1}", param[0], param[1]);
}
