//! `federation create|invite|status|members|revoke|leave` and `join`.

use super::namespace::is_alone;
use crate::cli::{Federation, Join, Role};
use crate::exit::Usage;
use crate::output::one_line;
use crate::session::Session;
use serde_json::{Value, json};
use std::io::Read;

/// A ticket has at most so many characters.
const TICKET_BYTES_MAX: u64 = 8_192;

/// Runs one of them.
pub(super) async fn run(session: &Session, command: &Federation) -> anyhow::Result<()> {
    let client = &session.client;
    match command {
        Federation::Create { name, replicas, space } => {
            let status = client
                .found_federation(&json!({ "name": name, "replicas": replicas, "space": space }))
                .await?;
            session.output.done(&format!("this node is the first of the federation {name}"))?;
            if status["addresses"].as_array().is_none_or(Vec::is_empty) {
                session.output.note(
                    "it does not listen for others yet: start it with --set federation.listen=/ip4/ADDRESS/tcp/PORT, then invite them",
                );
            }
            session.output.json(&status)?;
        }
        Federation::Invite { role, expires, member_for, space } => {
            let roles: Vec<&str> = role.iter().map(|role| name_of(*role)).collect();
            let mut asked = json!({ "expires_in": expires, "space": space });
            if let Some(member_for) = member_for {
                asked["member_for"] = json!(member_for);
            }
            if !roles.is_empty() {
                asked["roles"] = json!(roles);
            }
            let invited = client.invite(&asked).await?;
            let until = invited["expires"].as_str().unwrap_or_default();
            session.output.say(&format!("lets one node in until {}: jsfs join TICKET", one_line(until)));
            session.output.line(&one_line(invited["ticket"].as_str().unwrap_or_default()))?;
            session.output.json(&invited)?;
        }
        Federation::Status => status(session).await?,
        Federation::Members => members(session).await?,
        Federation::Revoke { peer } => {
            client.revoke_member(peer).await?;
            session.output.done(&format!("revoked {}", one_line(peer)))?;
            session.output.json(&json!({ "revoked": peer }))?;
        }
        Federation::Leave => {
            client.leave_federation().await?;
            session.output.done("this node is in no federation any more")?;
            session.output.json(&json!({ "federation": null }))?;
        }
    }
    Ok(())
}

/// `jsfs join`.
pub(super) async fn join(session: &Session, arguments: &Join) -> anyhow::Result<()> {
    let ticket = match arguments.ticket.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().lock().take(TICKET_BYTES_MAX).read_to_string(&mut text)?;
            text
        }
        text => text.to_owned(),
    };
    if ticket.trim().is_empty() {
        return Err(Usage("which ticket? `jsfs federation invite` on a member prints one".into()).into());
    }
    let mut status = session.client.join_federation(ticket.trim()).await?;
    let name = status["name"].as_str().unwrap_or("whose name comes later");
    session.output.done(&format!("joined the federation {}", one_line(name)))?;
    let namespaces = session.client.namespaces().await?;
    let alone: Vec<&str> =
        namespaces.iter().filter(|namespace| is_alone(namespace)).map(|namespace| &*namespace.host).collect();
    if !alone.is_empty() {
        session.output.note(&format!(
            "what this node had before stays its own, and hides what the federation has under the same name here: {}; to share what is in it, \
             copy it into a namespace of the federation (`jsfs cp`)",
            one_line(&alone.join(", "))
        ));
    }
    status["namespaces_alone"] = json!(alone);
    session.output.json(&status)?;
    Ok(())
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway",
        Role::Meta => "meta",
        Role::Store => "store",
        Role::Proc => "proc",
        Role::Admin => "admin",
    }
}

async fn status(session: &Session) -> anyhow::Result<()> {
    let status = session.client.federation().await?;
    session.output.json(&status)?;
    let text = |name: &str| one_line(status[name].as_str().unwrap_or("-")).into_owned();
    if status["federation"].is_null() {
        session.output.line("in no federation")?;
        session.output.line(&format!("peer        {}", text("peer")))?;
        return Ok(());
    }
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let lines = [
        ("name", text("name")),
        ("federation", text("federation")),
        ("peer", text("peer")),
        ("roles", list(&status["roles"])),
        ("until", text("expires")),
        ("replicas", number("replicas").to_string()),
        ("members", format!("{}, {} of them connected", number("members"), number("reachable"))),
        ("addresses", list(&status["addresses"])),
    ];
    for (name, value) in lines {
        session.output.line(&format!("{name:<11} {value}"))?;
    }
    Ok(())
}

async fn members(session: &Session) -> anyhow::Result<()> {
    let peers = session.client.peers().await?;
    session.output.json(&peers)?;
    for peer in peers["peers"].as_array().into_iter().flatten() {
        let state = match (peer["self"].as_bool(), peer["reachable"].as_bool()) {
            (Some(true), _) => "this node",
            (_, Some(true)) => "connected",
            _ => "away",
        };
        session.output.line(&format!(
            "{}  {state:<9}  {}  {} GiB  {}",
            one_line(peer["peer"].as_str().unwrap_or("-")),
            list(&peer["roles"]),
            peer["space"].as_u64().unwrap_or(0),
            list(&peer["addresses"]),
        ))?;
    }
    Ok(())
}

fn list(value: &Value) -> String {
    let items: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if items.is_empty() { "-".to_owned() } else { one_line(&items.join(",")).into_owned() }
}
