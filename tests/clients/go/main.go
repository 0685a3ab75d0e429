// A client on grpc-go that takes commands, one to a line, and answers each with a line.
//
// tests/clients/commands.rs has the commands.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimit "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

// The client: one channel, what is outstanding on it, and callers that go on.
type client struct {
	checks  ratelimit.RateLimitServiceClient
	health  health.HealthClient
	reflect reflection.ServerReflectionClient
	held    []*call
	watch   grpc.ServerStreamingClient[health.HealthCheckResponse]
	unwatch context.CancelFunc
	load    *load
}

type call struct {
	cancel context.CancelFunc
	done   chan string
}

// Callers that check until they are stopped.
type load struct {
	stop  atomic.Bool
	done  sync.WaitGroup
	mutex sync.Mutex
	codes map[string]int
}

func main() {
	connection, err := grpc.NewClient("passthrough:///"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	c := client{
		checks:  ratelimit.NewRateLimitServiceClient(connection),
		health:  health.NewHealthClient(connection),
		reflect: reflection.NewServerReflectionClient(connection),
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		fmt.Println(c.do(words[0], words[1:]))
	}
}

func (c *client) do(command string, words []string) string {
	switch command {
	case "check":
		return c.check(words)
	case "large":
		return c.large(number(words[0]), number(words[1]))
	case "health":
		answer, err := c.health.Check(context.Background(), &health.HealthCheckRequest{Service: strings.Join(words, "")})
		if err != nil {
			return failure(err)
		}
		return answer.Status.String()
	case "watch":
		return c.begin(words)
	case "next":
		return c.next()
	case "unwatch":
		c.unwatch()
		_, err := c.watch.Recv()
		return failure(err)
	case "services":
		return c.services()
	case "hold":
		for range number(words[0]) {
			c.hold(words[1])
		}
		return "held"
	case "cancel":
		leaving := c.held[:number(words[0])]
		c.held = c.held[len(leaving):]
		for _, call := range leaving {
			call.cancel()
		}
		return outcome(leaving)
	case "join":
		held := c.held
		c.held = nil
		return outcome(held)
	case "load":
		c.beginLoad(number(words[0]), words[1])
		return "loaded"
	case "stop":
		c.load.stop.Store(true)
		c.load.done.Wait()
		return tally(c.load.codes)
	}
	return "unknown command " + command
}

func (c *client) check(words []string) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if len(words) == 3 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(number(words[2]))*time.Millisecond)
		defer cancel()
	}
	return c.ask(ctx, request(entry(words[0], words[1])))
}

func (c *client) ask(ctx context.Context, request *ratelimit.RateLimitRequest) string {
	answer, err := c.checks.ShouldRateLimit(ctx, request)
	if err != nil {
		return failure(err)
	}
	return answer.OverallCode.String()
}

// A check of so many descriptors, with so many bytes in the value of each.
func (c *client) large(count, bytes int) string {
	descriptors := make([]*descriptor.RateLimitDescriptor, count)
	for i := range descriptors {
		descriptors[i] = entry("free", strings.Repeat("v", bytes))
	}
	answer, err := c.checks.ShouldRateLimit(context.Background(), request(descriptors...))
	if err != nil {
		return failure(err)
	}
	return fmt.Sprintf("%s %d", answer.OverallCode, len(answer.Statuses))
}

func (c *client) begin(words []string) string {
	ctx, cancel := context.WithCancel(context.Background())
	if len(words) == 1 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(number(words[0]))*time.Millisecond)
	}
	c.unwatch = cancel
	watch, err := c.health.Watch(ctx, &health.HealthCheckRequest{})
	if err != nil {
		return failure(err)
	}
	c.watch = watch
	return c.next()
}

func (c *client) next() string {
	answer, err := c.watch.Recv()
	if err != nil {
		return failure(err)
	}
	return answer.Status.String()
}

func (c *client) services() string {
	stream, err := c.reflect.ServerReflectionInfo(context.Background())
	if err != nil {
		return failure(err)
	}
	question := reflection.ServerReflectionRequest_ListServices{ListServices: "*"}
	if err := stream.Send(&reflection.ServerReflectionRequest{MessageRequest: &question}); err != nil {
		return failure(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return failure(err)
	}
	var names []string
	for _, service := range answer.GetListServicesResponse().Service {
		names = append(names, service.Name)
	}
	sort.Strings(names)
	if err := stream.CloseSend(); err != nil {
		return failure(err)
	}
	if _, err := stream.Recv(); err == nil {
		return "an answer too many"
	}
	return strings.Join(names, " ")
}

func (c *client) hold(key string) {
	ctx, cancel := context.WithCancel(context.Background())
	held := &call{cancel, make(chan string, 1)}
	go func() { held.done <- c.ask(ctx, request(entry(key, "v"))) }()
	c.held = append(c.held, held)
}

func (c *client) beginLoad(callers int, key string) {
	c.load = &load{codes: map[string]int{}}
	for range callers {
		c.load.done.Add(1)
		go func(load *load) {
			defer load.done.Done()
			for !load.stop.Load() {
				outcome := c.ask(context.Background(), request(entry(key, "v")))
				load.mutex.Lock()
				load.codes[outcome]++
				load.mutex.Unlock()
			}
		}(c.load)
	}
}

func outcome(calls []*call) string {
	codes := map[string]int{}
	for _, call := range calls {
		codes[<-call.done]++
		call.cancel()
	}
	return tally(codes)
}

func tally(codes map[string]int) string {
	var words []string
	for name, count := range codes {
		words = append(words, fmt.Sprintf("%s %d", name, count))
	}
	sort.Strings(words)
	return strings.Join(words, ", ")
}

func entry(key, value string) *descriptor.RateLimitDescriptor {
	return &descriptor.RateLimitDescriptor{Entries: []*descriptor.RateLimitDescriptor_Entry{{Key: key, Value: value}}}
}

func request(descriptors ...*descriptor.RateLimitDescriptor) *ratelimit.RateLimitRequest {
	return &ratelimit.RateLimitRequest{Domain: "api", Descriptors: descriptors}
}

// The name of the code; the message is for those who read why a test failed.
func failure(err error) string {
	fmt.Fprintln(os.Stderr, err)
	return code.Code(status.Code(err)).String()
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return number
}
