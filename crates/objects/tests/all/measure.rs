use crate::world::*;
use sha2::Digest;
#[tokio::test]
async fn measure() {
    let bytes = noise(1, 512 << 20);
    for round in 0..2 {
        let t = std::time::Instant::now();
        let a = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let aws = t.elapsed();
        let t = std::time::Instant::now();
        let b = sha2::Sha256::digest(&bytes);
        println!("{round} aws {aws:?} sha2 {:?}", t.elapsed());
        assert_eq!(a.as_ref(), &b[..]);
    }
    let world = World::new().await;
    let t = std::time::Instant::now();
    world.put("/localhost/m", &bytes, private()).await;
    println!("put {:?}", t.elapsed());
    let grant = world.objects.authorize::<jsfs_objects::Read>(&world.root(), &at("/localhost/m")).await.unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    let t = std::time::Instant::now();
    let mut body = object.whole();
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    while let Some(piece) = body.next().await { context.update(&piece.unwrap()); }
    println!("read back and hash {:?}", t.elapsed());
}
