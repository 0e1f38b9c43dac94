// A filter with Gcore's AssemblyScript SDK: a field on the way to the origin and one on the way back, an
// answer of its own for /denied, and what the host says of a secret and a property.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  RootContext,
  get_property,
  log,
  LogLevelValues,
  registerRootContext,
  send_http_response,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";
import { getEnv, getSecret } from "@gcoredev/proxy-wasm-sdk-as/assembly/fastedge";

class Root extends RootContext {
  createContext(context_id: u32): Context {
    return new Fields(context_id, this);
  }
}

class Fields extends Context {
  onRequestHeaders(_: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const path = String.UTF8.decode(get_property("request.path"));
    log(LogLevelValues.info, "path " + path);
    if (path == "/denied") {
      send_http_response(403, "denied", String.UTF8.encode("denied\n"), []);
      return FilterHeadersStatusValues.StopIteration;
    }
    stream_context.headers.request.add("x-as", path + " " + getEnv("NAME") + " " + getSecret("key"));
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(_: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.replace("x-as", this.root_context.getConfiguration());
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => {
  return new Root(context_id);
}, "fields");
