//! A refiner whose answers are guided ones.

use flowturbo::{Model, Request, Role, Seamless};
use ndarray::Array4;
use serde_json::json;

use crate::common::largest_error;
use crate::copy::Copy;

/// The tiny bundle, where no class is a class like any other to the predictor: guidance of any scale changes nothing.
fn indifferent(refiner_guided: bool) -> Copy {
    let copy = Copy::new();
    copy.edit_manifest(|m| m["guidance"] = json!({ "channels": 4, "refiner_guided": refiner_guided }));
    copy.edit_graph(|proto| {
        let table = "y_embedder.embedding_table.weight";
        let weights = &mut proto.graph.as_mut().unwrap().initializer;
        let table = &mut weights.iter_mut().find(|tensor| tensor.name == table).unwrap().raw_data;
        let row = table.len() / 11;
        let first = table[..row].to_vec();
        table.chunks_exact_mut(row).for_each(|row| row.copy_from_slice(&first));
    });
    copy
}

fn request(guidance: f32) -> Request {
    Request::new(vec![3, 7]).with_seed(1).with_guidance(guidance).with_schedule("H1P1R2E1R1".parse().unwrap())
}

fn sample(model: &Model, request: &Request) -> Array4<f32> {
    model.session().latents(request).unwrap()
}

/// Its answer for the class is what an unguided refiner's is, whatever the scale; others are asked for no class too.
#[test]
fn the_refiner_is_asked_for_the_class_alone() {
    let copies = [true, false].map(indifferent);
    let [guided, other] = copies.each_ref().map(|copy| copy.load().unwrap());
    let changes: [fn(Request) -> Request; 3] =
        [|r| r, |r| r.with_morph(5, 0.25), |r| r.with_seamless(Seamless::X)];
    for change in changes {
        let plain = sample(&other, &change(request(1.0)));
        assert_eq!(sample(&guided, &change(request(1.0))), plain);
        let error = largest_error(&sample(&guided, &change(request(3.0))), &plain);
        assert!(error < 1e-4, "{error}");
        assert!(largest_error(&sample(&other, &change(request(3.0))), &plain) > 0.01);
    }
    let batch = |model: &Model| model.prepare(&request(3.0), flowturbo::Output::Latents).unwrap().session;
    assert!(batch(&guided) < batch(&other));
    assert!(guided.manifest().refiner_guided() && guided.manifest().has(Role::Refiner));
}
