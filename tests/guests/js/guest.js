// A guest in JavaScript: / says hello, /echo sends the body back, /spin computes for ever.
// It runs in StarlingMonkey, which ComponentizeJS snapshots together with this script.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname } = new URL(request.url);
  switch (pathname) {
    case "/":
      return new Response("Hello from skep\n", { headers: { "content-type": "text/plain" } });
    case "/echo":
      return new Response(request.body, {
        headers: { "content-type": request.headers.get("content-type") ?? "application/octet-stream" },
      });
    case "/spin":
      for (;;);
    default:
      return new Response(`no route ${pathname}\n`, { status: 404 });
  }
}
