//! From a request to its verb: the one place that knows which method a resource has.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use jsfs_exec::Exec;
use jsfs_objects::Objects;
use jsfs_objects::address::Address;
use tokio::time::Instant;
use tracing::Instrument;

use crate::body::{Arriving, Body, Held};
use crate::connections::StreamPlace;
use crate::copy_move::{Carrying, by_header};
use crate::counters::{Counters, Load};
use crate::dav::{self, Locks};
use crate::federation::Federation;
use crate::headers::{self, METHODS};
use crate::jsfs4::{self, Old};
use crate::limits::{BadLimit, Limits};
use crate::metrics::{self, Metrics, MetricsOnly};
use crate::opening::Openings;
use crate::problem::Problem;
use crate::process::Keeping;
use crate::program::{self, Identities, Inside, Kept, Programs};
use crate::request::{Asked, Target};
use crate::request_id::RequestId;
use crate::server::{self, Continuing, Server};
use crate::watch::Watch;
use crate::{coding, delete, get, live, node_interface, options, patch, put, quick, tus};

/// What every request needs.
pub(crate) struct Front {
    objects: Objects,
    version: &'static str,
    counters: Counters,
    exec: Option<Exec>,
    federation: Option<Arc<dyn Federation>>,
    programs: Programs,
    identities: Identities,
    locks: Arc<Locks>,
    metrics: Metrics,
    openings: Openings,
}

impl Front {
    /// Codes that wait for a browser.
    pub(crate) fn openings(&self) -> &Openings {
        &self.openings
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Programs, where this node runs any.
    pub(crate) fn exec(&self) -> Option<&Exec> {
        self.exec.as_ref()
    }

    /// Other nodes, where this one can have any.
    pub(crate) fn federation(&self) -> Option<&dyn Federation> {
        self.federation.as_deref()
    }

    /// Programs prepared a short time ago.
    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What programs were prepared as.
    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The locks of WebDAV.
    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }

    pub(crate) fn shared_locks(&self) -> &Arc<Locks> {
        &self.locks
    }

    pub(crate) fn webdav(&self) -> bool {
        self.counters.limits().webdav
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(crate) fn version(&self) -> &'static str {
        self.version
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn load(&self) -> Load {
        self.counters.load()
    }

    pub(crate) fn body_bytes_max(&self) -> u64 {
        self.counters.limits().body_bytes_max
    }

    pub(crate) fn json_bytes_max(&self) -> usize {
        self.counters.limits().json_bytes_max
    }
}

impl Server {
    /// A front door for these objects; `version` is what `/.jsfs/status` tells.
    ///
    /// # Errors
    /// Names the bound that cannot work.
    pub fn new(objects: Objects, version: &'static str, limits: Limits) -> Result<Self, BadLimit> {
        Self::build(objects, version, limits, None, None)
    }

    /// The same, with programs and other nodes.
    ///
    /// # Errors
    /// Names the bound that cannot work.
    pub fn whole(
        objects: Objects,
        version: &'static str,
        limits: Limits,
        exec: Exec,
        federation: Arc<dyn Federation>,
    ) -> Result<Self, BadLimit> {
        Self::build(objects, version, limits, Some(exec), Some(federation))
    }

    fn build(
        objects: Objects,
        version: &'static str,
        limits: Limits,
        exec: Option<Exec>,
        federation: Option<Arc<dyn Federation>>,
    ) -> Result<Self, BadLimit> {
        let counters = Counters::new(limits)?;
        let programs = program::remembered();
        let front = Arc::new(Front {
            objects,
            version,
            counters: counters.clone(),
            exec,
            federation,
            programs,
            identities: program::identities(),
            locks: Arc::default(),
            metrics: Metrics::new(),
            openings: Openings::default(),
        });
        if let Some(exec) = &front.exec {
            exec.keep_artefacts_in(Arc::new(Kept(front.objects.clone())));
            exec.reach(Arc::new(Inside(Arc::downgrade(&front))));
            exec.keep_processes_in(Arc::new(Keeping(front.objects.clone())));
        }
        let at_once = Arc::clone(&front);
        let quick = move |request: &Request<Incoming>| match at_once.objects.answers_jsfs4() {
            true => None,
            false => quick::answer(&at_once, request),
        };
        let handler = move |parts: Parts, body: Arriving| {
            let front = Arc::clone(&front);
            Box::pin(async move { handle(&front, parts, body).await }) as server::Answer
        };
        Ok(Self::with_handler(Arc::new(quick), Arc::new(handler), counters))
    }
}

/// Answers a request that came over HTTP: it may be the handshake of a socket.
async fn handle(front: &Arc<Front>, parts: Parts, body: Arriving) -> Response<Body> {
    if parts.extensions.get::<MetricsOnly>().is_some() {
        return Box::pin(metrics::answer_alone(front, &parts)).await;
    }
    if live::asks_for_socket(&parts) {
        return open_socket(front, &parts).await.unwrap_or_else(|problem| problem.response());
    }
    answer(front, parts, body).await
}

async fn open_socket(front: &Arc<Front>, parts: &Parts) -> Result<Response<Body>, Problem> {
    let place = front.counters.enter_lasting()?;
    let opened = match Box::pin(live::open_program(front, parts)).await {
        Some(opened) => opened,
        None => match Box::pin(live::open_process(front, parts)).await {
            Some(opened) => opened,
            None => Box::pin(live::open(front, parts)).await,
        },
    }?;
    if let Some(continuing) = parts.extensions.get::<Continuing>() {
        continuing.keep(place);
    }
    Ok(opened)
}

/// Places for what is no request of its own: a call of a socket, which has one among the calls, or what a program asks for.
pub(crate) fn admit(
    front: &Front,
    parts: &Parts,
    body: &Arriving,
    place: Option<StreamPlace>,
) -> Result<Held, Problem> {
    let watch = place.as_ref().map_or_else(|| Arc::new(Watch::new()), StreamPlace::watch);
    let mut held = Held::new(watch, place);
    held.places = front.counters.admit(server::stores(parts, body), held.watch.origin())?;
    held.watch.keeps_upload(held.places.upload.is_some());
    held.id = Some(RequestId::of(&parts.headers));
    Ok(held)
}

/// Answers it as the request that it stands for, and within the same limits.
pub(crate) async fn call(front: &Front, parts: Parts, body: Arriving, held: &mut Held) -> Response<Body> {
    let id = held.id.clone().unwrap_or_else(|| RequestId::of(&parts.headers));
    let response = id.of_all(server::catch(answer(front, parts, body))).await;
    held.watch.keeps_upload(false);
    held.places.upload = None;
    response
}

async fn answer(front: &Front, mut parts: Parts, body: Arriving) -> Response<Body> {
    dav::disarm(&mut parts);
    let begun = Instant::now();
    let id = RequestId::current();
    let answering = jsfs_objects::noting_kept(answered(front, &parts, body)).instrument(id.span());
    let (answered, is_kept) = Box::pin(answering).await;
    let mut response = answered.unwrap_or_else(|problem| problem.response());
    // Accepted, and on fewer nodes than it is to be on.
    if is_kept && response.status().is_success() {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    if front.objects.answers_jsfs4() {
        headers::preflight(response.headers_mut());
    }
    let response = coding::apply(&parts.headers, response, front.counters.encoders());
    front.metrics.count(&parts.method, response.status(), begun.elapsed());
    note(&id, &parts.method, &parts.uri, &response, begun);
    response
}

async fn answered(front: &Front, parts: &Parts, body: Arriving) -> Result<Response<Body>, Problem> {
    match Old::of(&front.objects, parts) {
        Ok(Some(old)) => Box::pin(jsfs4::answer(front, &old, parts, body)).await,
        Ok(None) => match Asked::parse(parts) {
            Ok((asked, target)) => route(front, &asked, target, body).await,
            Err(problem) => Err(problem),
        },
        Err(problem) => Err(problem),
    }
}

/// One line for each request: without the query, which may hold a secret. `bytes` is missing where nobody knows it beforehand, `ms` is the time
/// until the answer began.
pub(crate) fn note(id: &RequestId, method: &Method, uri: &Uri, response: &Response<Body>, begun: Instant) {
    tracing::debug!(
        request = id.as_str(),
        method = %method,
        path = %uri.path(),
        status = response.status().as_u16(),
        bytes = response.body().length(),
        ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
}

async fn route(
    front: &Front,
    asked: &Asked<'_>,
    target: Target<'_>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    match target {
        Target::Server => Ok(options::of_addresses(front)),
        Target::Interface(path) => Box::pin(node_interface::answer(front, asked, path, body)).await,
        Target::Address(address) => verb(front, asked, &address, body).await,
    }
}

async fn verb(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = &front.objects;
    asked.parameters.check_method(asked.method)?;
    // The rare ones are boxed so that the common one stays small.
    match asked.method.as_str() {
        "GET" if live::asks_for_events(asked.headers) => Box::pin(live::follow(front, asked, address)).await,
        "GET" | "HEAD" => get::get(front, asked, address).await,
        "POST" if tus::is_creation(asked.headers) && !address.is_directory() => {
            Box::pin(tus::create(front, asked, address, body)).await
        }
        "POST" => match Box::pin(program::post(front, asked, address, body)).await? {
            Ok(response) => Ok(response),
            Err(body) => Box::pin(put::put(front, asked, address, body)).await,
        },
        "PUT" => Box::pin(put::put(front, asked, address, body)).await,
        "PATCH" => Box::pin(patch::patch(front, asked, address, body)).await,
        "DELETE" => Box::pin(delete::delete(objects, asked, address)).await,
        "COPY" => Box::pin(by_header(objects, asked, address, Carrying::Copy)).await,
        "MOVE" => Box::pin(by_header(objects, asked, address, Carrying::Move)).await,
        "EXECUTE" => Box::pin(program::execute(front, asked, address, body)).await,
        "OPTIONS" => Ok(options::of_addresses(front)),
        _ => Err(Problem::method_not_allowed(asked.method, METHODS)),
    }
}
