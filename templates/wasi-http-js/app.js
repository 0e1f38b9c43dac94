// Greets, and sends bodies back as they come.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

function answer(request) {
  const { pathname, searchParams } = new URL(request.url);
  switch (`${request.method} ${pathname}`) {
    case "GET /":
      return text(200, `Hello, ${searchParams.get("name") ?? "whoever you are"}, from skep-template\n`);
    case "POST /echo":
      // The body is passed on while it still arrives.
      return new Response(request.body);
    default:
      return text(404, "nothing here\n");
  }
}

function text(status, body) {
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}
