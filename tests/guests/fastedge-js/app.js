// An app for FastEdge in JavaScript, built with its SDK.
//
//   /                            Hello from skep
//   /env?key=K                   some VALUE, or none
//   /secret?name=N[&at=SECONDS]  some VALUE, or none, also where the host refuses it
//   /kv?store=S&op=...           as in fastedge/services/src/lib.rs; an error is "error" and its message
//   /fetch?url=U                 requests the URL and sends its status and body on
//   /redirect?url=U              Response.redirect: an answer without a body
//   /stream?ms=N                 five chunks, N ms between them
//   /later?ms=N&text=T           answers, and logs the text N ms later (waitUntil)
//   /client                      event.client, event.server and the headers as JSON
//   /print?text=T                console.log
//   /echo                        sends the body back
//   /throw                       throws

import { getEnv } from "fastedge::env";
import { KvStore } from "fastedge::kv";
import { getSecret, getSecretEffectiveAt } from "fastedge::secret";

addEventListener("fetch", (event) => event.respondWith(answer(event)));

async function answer(event) {
  const { request } = event;
  const { pathname, searchParams } = new URL(request.url);
  const value = (name) => searchParams.get(name) ?? "";
  switch (pathname) {
    case "/":
      return new Response("Hello from skep\n", { headers: { "content-type": "text/plain" } });
    case "/env":
      return text(() => option(getEnv(value("key"))));
    case "/secret":
      return text(() => option(secret(value("name"), searchParams.get("at"))));
    case "/kv":
      return text(() => kv(KvStore.open(value("store")), value));
    case "/fetch": {
      const { status, body } = await fetch(value("url"));
      return new Response(body, { status });
    }
    case "/redirect":
      return Response.redirect(value("url") || "https://example.com/");
    case "/stream":
      return new Response(stream(5, Number(value("ms"))));
    case "/later":
      event.waitUntil(sleep(Number(value("ms"))).then(() => console.log(value("text"))));
      return text(() => "ok");
    case "/client":
      return parties(event);
    case "/print":
      console.log(value("text"));
      return text(() => "ok");
    case "/echo":
      return new Response(request.body, {
        headers: { "content-type": request.headers.get("content-type") ?? "application/octet-stream" },
      });
    case "/throw":
      throw new Error("the guest was asked to throw");
    default:
      return new Response(`no route ${pathname}\n`, { status: 404 });
  }
}

// Answers what `tell` returns, or the error that it throws.
function text(tell) {
  let line;
  try {
    line = tell();
  } catch (error) {
    line = `error ${error.message}`;
  }
  return new Response(`${line}\n`, { headers: { "content-type": "text/plain" } });
}

function secret(name, at) {
  return at === null ? getSecret(name) : getSecretEffectiveAt(name, Number(at));
}

function kv(store, value) {
  const members = (pairs) => list(pairs.map(([member, score]) => `${decoded(member)} ${score}`));
  switch (value("op")) {
    case "get": {
      const bytes = store.get(value("key"));
      return option(bytes && decoded(bytes));
    }
    case "scan":
      return list(store.scan(value("pattern")));
    case "zrange":
      return members(store.zrangeByScore(value("key"), Number(value("min")), Number(value("max"))));
    case "zscan":
      return members(store.zscan(value("key"), value("pattern")));
    case "bf":
      return String(store.bfExists(value("key"), value("item")));
    default:
      throw new Error(`no operation ${value("op")}`);
  }
}

// The SDK's version 2.2.0, unlike later ones, gives an event neither of the two: its apps read the headers.
function parties({ client, server, request }) {
  return Response.json({
    client: client ? { ...client, geo: client.geo } : null,
    server: server ? { ...server, pop: server.pop } : null,
    headers: Object.fromEntries(request.headers),
  });
}

function stream(chunks, ms) {
  const encoder = new TextEncoder();
  let sent = 0;
  return new ReadableStream({
    async pull(controller) {
      if (sent > 0 && ms > 0) await sleep(ms);
      controller.enqueue(encoder.encode(`chunk ${++sent}\n`));
      if (sent === chunks) controller.close();
    },
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const decoded = (bytes) => new TextDecoder().decode(bytes);
const option = (value) => (value === null || value === undefined ? "none" : `some ${value}`);
const list = (items) => [`count ${items.length}`, ...items].join("\n");
