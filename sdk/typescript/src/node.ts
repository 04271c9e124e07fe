/** The mesh from Node: gRPC, with uploads that resume. */

import { createHash, randomUUID } from "node:crypto";

import { createGrpcTransport } from "@connectrpc/connect-node";

import type { Audio } from "../gen/chorale/ingest/v1/audio_pb.js";
import { Chorale, Code, ConnectError, identify, type Credentials } from "./index.js";

export * from "./index.js";

const CHUNK_BYTES = 256 * 1024;
const ATTEMPTS_MAX = 5;

/** Connects over gRPC, to the edge or to one service: `connect("http://127.0.0.1:7480")`. */
export function connect(baseUrl: string, credentials: Credentials = {}): Chorale {
  return new Chorale(createGrpcTransport({ baseUrl, interceptors: [identify(credentials)] }));
}

/**
 * Uploads a whole file and answers the audio it became.
 *
 * A broken stream is taken up again from what the service has committed; repeating the upload
 * of the same bytes is harmless, since audio is named by its digest.
 */
export async function upload(
  chorale: Chorale,
  bytes: Uint8Array,
  fileName: string,
): Promise<Audio> {
  const { upload: started } = await chorale.ingest.startUpload({
    sha256: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: BigInt(bytes.length),
    requestId: randomUUID(),
    fileName,
  });
  if (!started) throw new ConnectError("The service started no upload.", Code.Internal);
  let committed = Number(started.committedBytes);
  for (let attempt = 1; ; attempt++) {
    try {
      const { state } = await chorale.ingest.writeUpload(chunks(started.name, bytes, committed));
      if (state.case === "audio") return state.value;
      throw new ConnectError("The service did not finish the upload.", Code.Internal);
    } catch (error) {
      const mayResume = ConnectError.from(error).code === Code.Unavailable;
      if (!mayResume || attempt === ATTEMPTS_MAX) throw error;
      const { upload: standing } = await chorale.ingest.getUpload({ name: started.name });
      committed = Number(standing?.committedBytes ?? 0n);
    }
  }
}

async function* chunks(upload: string, bytes: Uint8Array, from: number) {
  for (let offset = from; offset < bytes.length; offset += CHUNK_BYTES) {
    const data = bytes.slice(offset, offset + CHUNK_BYTES);
    yield { upload, offsetBytes: BigInt(offset), data, finish: false };
  }
  yield { upload, offsetBytes: BigInt(bytes.length), data: new Uint8Array(), finish: true };
}
