/** The five services and their operations over any Connect transport. */

import {
  Code,
  ConnectError,
  createClient,
  type Client,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";

import { AnalysisService } from "../gen/chorale/analysis/v1/analysis_service_pb.js";
import { FingerprintService } from "../gen/chorale/fingerprint/v1/fingerprint_service_pb.js";
import { GenerationService } from "../gen/chorale/generation/v1/generation_service_pb.js";
import { IngestService } from "../gen/chorale/ingest/v1/ingest_service_pb.js";
import { MasteringService } from "../gen/chorale/mastering/v1/mastering_service_pb.js";
import { OperationsService } from "../gen/chorale/operations/v1/operations_service_pb.js";
import { Operations } from "../gen/google/longrunning/operations_pb.js";
import { ErrorInfoSchema, type ErrorInfo } from "../gen/google/rpc/error_details_pb.js";

export { Code, ConnectError } from "@connectrpc/connect";

/** The services of the mesh by their short names. */
export const SERVICE_NAMES = [
  "ingest",
  "analysis",
  "fingerprint",
  "mastering",
  "generation",
] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** Every service serves operations, so a call on one says in this header whose it is. */
const SERVICE_HEADER = "chorale-service";

export interface Credentials {
  /** A JWT, sent as `authorization: Bearer`. */
  token?: string;
  /** An API key, sent as `x-api-key`. */
  apiKey?: string;
}

/** Following and steering the long work of one service. */
export interface OperationsOf {
  readonly operations: Client<typeof Operations>;
  readonly watching: Client<typeof OperationsService>;
}

/** The mesh behind one address, usually its edge. */
export class Chorale {
  readonly ingest: Client<typeof IngestService>;
  readonly analysis: Client<typeof AnalysisService>;
  readonly fingerprint: Client<typeof FingerprintService>;
  readonly mastering: Client<typeof MasteringService>;
  readonly generation: Client<typeof GenerationService>;

  constructor(private readonly transport: Transport) {
    this.ingest = createClient(IngestService, transport);
    this.analysis = createClient(AnalysisService, transport);
    this.fingerprint = createClient(FingerprintService, transport);
    this.mastering = createClient(MasteringService, transport);
    this.generation = createClient(GenerationService, transport);
  }

  /** The operations that a service runs. */
  operationsOf(service: ServiceName): OperationsOf {
    const transport = withHeader(this.transport, SERVICE_HEADER, service);
    return {
      operations: createClient(Operations, transport),
      watching: createClient(OperationsService, transport),
    };
  }
}

/** What a service says about an error beside its code: a reason from `ErrorReason`, and facts. */
export function errorInfo(error: unknown): ErrorInfo | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0];
}

/** Sends credentials with every call. */
export function identify(credentials: Credentials): Interceptor {
  return (next) => (request) => {
    if (credentials.token) request.header.set("authorization", `Bearer ${credentials.token}`);
    if (credentials.apiKey) request.header.set("x-api-key", credentials.apiKey);
    return next(request);
  };
}

function withHeader(transport: Transport, name: string, value: string): Transport {
  const extended = (header: HeadersInit | undefined) => {
    const headers = new Headers(header);
    headers.set(name, value);
    return headers;
  };
  return {
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      transport.unary(method, signal, timeoutMs, extended(header), input, contextValues),
    stream: (method, signal, timeoutMs, header, input, contextValues) =>
      transport.stream(method, signal, timeoutMs, extended(header), input, contextValues),
  };
}
