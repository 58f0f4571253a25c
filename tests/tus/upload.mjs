// tus-js-client, as Uppy and most pages use it, against a real node: `node upload.mjs NODE_PORT KEY`. Exits with 1 where anything is not as promised.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createServer, connect } from 'node:net'
import { Readable } from 'node:stream'
import * as tus from 'tus-js-client'

const [port, key] = process.argv.slice(2)
const headers = { authorization: `Bearer ${key}` }
const node = `http://127.0.0.1:${port}`

/** A proxy that breaks the first `times` connections after `after` bytes to the node. */
function breaking(after, times) {
  let broken = 0
  const server = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    let moved = 0
    client.on('data', bytes => {
      upstream.write(bytes)
      moved += bytes.length
      if (moved > after && broken < times) {
        broken += 1
        client.destroy()
        upstream.end()
      }
    })
    upstream.pipe(client)
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
    client.on('close', () => upstream.end())
  })
  return new Promise(resolve =>
    server.listen(0, '127.0.0.1', () =>
      resolve({ url: `http://127.0.0.1:${server.address().port}`, broken: () => broken, close: () => server.close() })))
}

/** Uploads and resolves with the client's upload when it says that it succeeded. */
function upload(source, options) {
  return new Promise((resolve, reject) => {
    const running = new tus.Upload(source, {
      headers,
      retryDelays: [0, 100, 200, 400],
      removeFingerprintOnSuccess: true,
      ...options,
      onError: reject,
      onSuccess: () => resolve(running),
    })
    running.start()
  })
}

async function holds(path, bytes, type) {
  const answer = await fetch(node + path, { headers: { ...headers, 'accept-encoding': 'identity' } })
  assert.equal(answer.status, 200, path)
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes), `${path} is not what was sent`)
  assert.equal(answer.headers.get('repr-digest'), `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`)
  if (type) assert.equal(answer.headers.get('content-type'), type)
}

async function said(what, check) {
  await check()
  console.log(`ok: ${what}`)
}

const bytes = randomBytes(9_000_000)

await said('one request', async () => {
  await upload(bytes, { endpoint: `${node}/tus/one`, metadata: { filename: 'one.png', filetype: 'image/png' } })
  await holds('/tus/one', bytes, 'image/png')
})

await said('chunks', async () => {
  await upload(bytes, { endpoint: `${node}/tus/chunks.txt`, chunkSize: 1_000_003 })
  await holds('/tus/chunks.txt', bytes, 'text/plain; charset=utf-8')
})

await said('bytes with the creation', async () => {
  await upload(bytes, { endpoint: `${node}/tus/with`, uploadDataDuringCreation: true, chunkSize: 4_000_000 })
  await holds('/tus/with', bytes)
})

await said('a stream whose length is not known', async () => {
  const pieces = Array.from({ length: 90 }, (_, at) => bytes.subarray(at * 100_000, (at + 1) * 100_000))
  await upload(Readable.from(pieces), { endpoint: `${node}/tus/stream`, chunkSize: 2_000_000, uploadLengthDeferred: true })
  await holds('/tus/stream', bytes)
})

await said('nothing', async () => {
  await upload(Buffer.alloc(0), { endpoint: `${node}/tus/nothing` })
  await holds('/tus/nothing', Buffer.alloc(0))
})

await said('a connection that breaks twice', async () => {
  const proxy = await breaking(3_000_000, 2)
  const offsets = []
  await upload(bytes, { endpoint: `${proxy.url}/tus/broken`, onAfterResponse: (request, response) => {
    if (request.getMethod() === 'HEAD') offsets.push(Number(response.getHeader('Upload-Offset')))
  } })
  assert.equal(proxy.broken(), 2)
  assert.ok(offsets.length >= 2 && offsets.every(offset => offset > 1_000_000), `kept: ${offsets}`)
  proxy.close()
  await holds('/tus/broken', bytes)
})

await said('abort, resume by URL, terminate', async () => {
  const paused = await new Promise((resolve, reject) => {
    const running = new tus.Upload(bytes, { endpoint: `${node}/tus/paused`, headers, chunkSize: 1_000_000, onError: reject,
      onChunkComplete: (_, accepted) => { if (accepted === 3_000_000) running.abort().then(() => resolve(running), reject) } })
    running.start()
  })
  let first
  await upload(bytes, { endpoint: `${node}/tus/paused`, uploadUrl: paused.url, chunkSize: 5_000_000,
    onProgress: sent => { first ??= sent } })
  assert.ok(first >= 3_000_000, `it began at ${first}`)
  await holds('/tus/paused', bytes)

  const given_up = await new Promise((resolve, reject) => {
    const running = new tus.Upload(bytes, { endpoint: `${node}/tus/given-up`, headers, chunkSize: 1_000_000, onError: reject,
      onChunkComplete: () => running.abort(true).then(() => resolve(running), reject) })
    running.start()
  })
  const asked = await fetch(given_up.url, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } })
  assert.equal(asked.status, 404)
})

await said('a refusal', async () => {
  const refused = upload(bytes, { endpoint: `${node}/tus/one`, headers: { ...headers, 'if-none-match': '*' } })
  await assert.rejects(refused, error => error.originalResponse.getStatus() === 412)
  await assert.rejects(upload(bytes, { endpoint: `${node}/tus/x`, headers: {} }), error => error.originalResponse.getStatus() === 401)
})
