/** The mesh from a browser (or anything with `fetch`): gRPC-Web through the edge. */

import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import type { Audio } from "../gen/chorale/ingest/v1/audio_pb.js";
import { PutAudioResponseSchema } from "../gen/chorale/ingest/v1/upload_pb.js";
import { Chorale, Code, ConnectError, identify, type Credentials } from "./index.js";

export * from "./index.js";

/** Connects over gRPC-Web to the edge: `connect("http://127.0.0.1:7480")`. */
export function connect(baseUrl: string, credentials: Credentials = {}): Chorale {
  return new Chorale(createGrpcWebTransport({ baseUrl, interceptors: [identify(credentials)] }));
}

/** Uploads a file through REST, since gRPC-Web cannot stream from a browser to a service. */
export async function upload(
  baseUrl: string,
  body: Uint8Array<ArrayBuffer> | Blob,
  fileName: string,
  credentials: Credentials = {},
): Promise<Audio> {
  const headers = new Headers({ "content-type": "application/octet-stream" });
  if (credentials.token) headers.set("authorization", `Bearer ${credentials.token}`);
  if (credentials.apiKey) headers.set("x-api-key", credentials.apiKey);
  const url = new URL(`/v1/audio?file_name=${encodeURIComponent(fileName)}`, baseUrl);
  const response = await fetch(url, { method: "POST", headers, body });
  const answer = (await response.json()) as JsonValue;
  if (!response.ok) {
    const { code, message } = answer as { code?: number; message?: string };
    throw new ConnectError(message ?? response.statusText, (code as Code) ?? Code.Unknown);
  }
  const { audio } = fromJson(PutAudioResponseSchema, answer, { ignoreUnknownFields: true });
  if (!audio) throw new ConnectError("The service answered no audio.", Code.Internal);
  return audio;
}
