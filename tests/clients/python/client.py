"""A client on grpcio, which is gRPC's C core, that takes commands, one to a line, and answers each with a line.

tests/clients/commands.rs has the commands. What a check is, it knows from the server's reflection alone.
"""

import collections
import sys
import threading

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


class Client:
    """One channel, what is outstanding on it, and callers that go on."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        self.held = []
        self.watching = None
        self.callers = []
        self.is_stopping = threading.Event()
        self.codes = collections.Counter()
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        pool = descriptor_pool.DescriptorPool(self.database)
        method = pool.FindServiceByName(SERVICE).FindMethodByName("ShouldRateLimit")
        self.request, self.response = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
        self.checks = self.channel.unary_unary(
            f"/{SERVICE}/ShouldRateLimit",
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )
        self.names = method.output_type.fields_by_name["overall_code"].enum_type.values_by_number

    def check(self, key, value, timeout_ms=None):
        timeout = None if timeout_ms is None else int(timeout_ms) / 1000
        return self.outcome(lambda: self.checks(self.message([(key, value)]), timeout=timeout))

    def large(self, count, value_bytes):
        message = self.message([("free", "v" * int(value_bytes))] * int(count))
        try:
            answer = self.checks(message)
        except grpc.RpcError as error:
            return code(error)
        return f"{self.names[answer.overall_code].name} {len(answer.statuses)}"

    def do_health(self, service=""):
        try:
            return status(self.health.Check(health_pb2.HealthCheckRequest(service=service)))
        except grpc.RpcError as error:
            return code(error)

    def watch(self, timeout_ms=None):
        timeout = None if timeout_ms is None else int(timeout_ms) / 1000
        self.watching = self.health.Watch(health_pb2.HealthCheckRequest(), timeout=timeout)
        return self.next()

    def next(self):
        try:
            return status(next(self.watching))
        except grpc.RpcError as error:
            return code(error)

    def unwatch(self):
        self.watching.cancel()
        return self.next()

    def services(self):
        return " ".join(sorted(self.database.get_services()))

    def hold(self, count, key):
        self.held += [self.checks.future(self.message([(key, "v")])) for _ in range(int(count))]
        return "held"

    def cancel(self, count):
        leaving, self.held = self.held[: int(count)], self.held[int(count) :]
        for call in leaving:
            call.cancel()
        return self.tally(leaving)

    def join(self):
        held, self.held = self.held, []
        return self.tally(held)

    def load(self, count, key):
        self.callers = [threading.Thread(target=self.go_on, args=(key,)) for _ in range(int(count))]
        for caller in self.callers:
            caller.start()
        return "loaded"

    def go_on(self, key):
        codes = collections.Counter()
        message = self.message([(key, "v")])
        while not self.is_stopping.is_set():
            codes[self.outcome(lambda: self.checks(message))] += 1
        self.codes += codes

    def stop(self):
        self.is_stopping.set()
        for caller in self.callers:
            caller.join()
        return listed(self.codes)

    def message(self, entries):
        descriptors = [{"entries": [{"key": key, "value": value}]} for key, value in entries]
        return self.request(domain="api", descriptors=descriptors)

    def tally(self, calls):
        return listed(collections.Counter(self.outcome(call.result) for call in calls))

    def outcome(self, ask):
        try:
            return self.names[ask().overall_code].name
        except grpc.FutureCancelledError:
            return "CANCELLED"
        except grpc.RpcError as error:
            return code(error)


def status(answer):
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def code(error):
    print(error.code(), error.details(), file=sys.stderr, flush=True)
    return error.code().name


def listed(codes):
    return ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))


def main():
    client = Client(sys.argv[1])
    for line in sys.stdin:
        command, *words = line.split()
        act = client.do_health if command == "health" else getattr(client, command)
        print(act(*words), flush=True)


main()
