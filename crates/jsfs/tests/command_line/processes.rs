//! Processes on the command line: started, listed, attached to, stopped.

use crate::support::Home;

const ECHO: &str = r#"export default {
  async main(args, ctx) {
    ctx.write(`begun with ${args.join(" ")}\n`);
    for await (const heard of ctx.input()) {
      if (heard === "throw") throw new TypeError("as it was told");
      if (heard === "end") return { ended: true };
      ctx.write(`heard ${heard}\n`);
    }
    ctx.write("parted\n");
  },
};
"#;

#[test]
fn a_process_is_started_listed_heard_and_stopped() {
    let home = Home::new();
    home.write("echo.js", ECHO);
    home.ok(&["put", "echo.js", "/localhost/", "--executable"]);
    let id = home.ok(&["run", "--detach", "/localhost/echo.js", "one", "-x"]);
    let id = id.trim();
    assert_eq!(id.len(), 32, "{id}");
    let listed = home.json(&["ps"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["address"]),
        (&id.into(), &"/localhost/echo.js".into()),
        "{listed}"
    );
    let attached = home.with_input(&["attach", "--input", id], b"you\nend\n");
    assert_eq!((attached.code, attached.out.as_str()), (0, "begun with one -x\nheard you\n{\"ended\":true}"));
    assert!(attached.err.contains("done"), "{}", attached.err);
    assert_eq!(home.ok(&["attach", "--after", "18", id]), "heard you\n{\"ended\":true}", "it is kept");
    assert_eq!(home.json(&["ps"]).as_array().map(Vec::len), Some(0));
    assert!(home.ok(&["ps", "--all"]).starts_with(&format!("{id} done ")));

    let second = home.ok(&["run", "--detach", "/localhost/echo.js"]);
    let second = second.trim();
    assert_eq!(home.json(&["checkpoint", second])["checkpoints"], 1);
    assert!(home.ok(&["stop", second]).contains("stop"));
    assert_eq!(home.ok(&["attach", second]), "begun with \nparted\n");
    let third = home.ok(&["run", "--detach", "/localhost/echo.js"]);
    assert!(home.ok(&["stop", "--kill", third.trim()]).contains(" stopped "));
    let failing = home.ok(&["run", "--detach", "/localhost/echo.js"]);
    let failed = home.with_input(&["attach", "--input", failing.trim()], b"throw\n");
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.err.contains("its log tells why under the id"), "{}", failed.err);
    assert!(home.ok(&["logs", "/localhost/echo.js"]).contains("as it was told"));
    assert_eq!(home.stranger(&["attach", id]).code, home.stranger(&["attach", "no-such"]).code);
    home.fails(3, &["attach", "00000000000000000000000000000000"]);
    home.fails(2, &["run", "/localhost/echo.js", "argument"]);
}
