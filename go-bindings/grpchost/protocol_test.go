// What must hold for the server as such, and for what every call has in common.

package grpchost

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestTheWelcomeComesWithTheProtocolHeader(t *testing.T) {
	c, _ := start(t, Options{}).welcomed(t, goodHello(1))
	header, err := c.stream.Header()
	if err != nil {
		t.Fatal(err)
	}
	if got := header.Get(ProtocolHeader); len(got) != 1 || got[0] != "1" {
		t.Fatalf("header %s is %q", ProtocolHeader, got)
	}
}

func TestSendsTheHeaderBeforeHello(t *testing.T) {
	c := start(t, Options{}).connect(t)
	if _, err := c.stream.Header(); err != nil {
		t.Fatal(err)
	}
}

func TestRejectsCallsWithoutTheProtocolHeader(t *testing.T) {
	server := start(t, Options{})
	for name, md := range map[string]metadata.MD{
		"missing": {}, "newer": metadata.Pairs(ProtocolHeader, "2"),
		"garbage": metadata.Pairs(ProtocolHeader, "1.0"),
		"twice":   metadata.Pairs(ProtocolHeader, "1", ProtocolHeader, "2"),
	} {
		t.Run(name, func(t *testing.T) {
			c := server.connectWith(t, md)
			err := c.ends(codes.FailedPrecondition)
			if !strings.Contains(err.Error(), "speaks version 1") {
				t.Errorf("%v doesn't name the version spoken", err)
			}
			header, _ := c.stream.Header()
			if got := append(header.Get(ProtocolHeader),
				c.stream.Trailer().Get(ProtocolHeader)...); len(got) != 1 || got[0] != "1" {
				t.Errorf("header in the answer is %q", got)
			}
		})
	}
}

func TestHealthNeedsNoProtocolHeader(t *testing.T) {
	server := start(t, Options{})
	health := grpc_health_v1.NewHealthClient(server.dial(t))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, service := range []string{"", "gopool.sv2.v1.WorkService"} {
		got, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
	server.health.Shutdown()
	got, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("stopping: %v, %v", got, err)
	}
}

func TestNobodyHearsEventsWithoutASink(t *testing.T) {
	server := start(t, Options{})
	for want, md := range map[codes.Code]metadata.MD{
		codes.Unimplemented:      metadata.Pairs(ProtocolHeader, "1"),
		codes.FailedPrecondition: {},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		stream, err := sv2pb.NewEventServiceClient(server.dial(t)).Publish(
			metadata.NewOutgoingContext(ctx, md))
		if err == nil {
			_, err = stream.Recv()
		}
		cancel()
		if status.Code(err) != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// notes is a sink that has the first event.
type notes struct{ kept chan *sv2pb.Event }

func (notes) Begin(context.Context, events.Source) (uint64, error) { return 1, nil }

func (n notes) Keep(_ context.Context, _ events.Source, batch []*sv2pb.Event) error {
	for _, event := range batch {
		n.kept <- event
	}
	return nil
}

func TestBringsEventsToTheSink(t *testing.T) {
	sink := notes{kept: make(chan *sv2pb.Event, 8)}
	server := start(t, Options{Events: sink, Software: "pool/1"})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := sv2pb.NewEventServiceClient(server.dial(t)).Publish(
		metadata.NewOutgoingContext(ctx, metadata.Pairs(ProtocolHeader, "1")))
	if err != nil {
		t.Fatal(err)
	}
	source := make([]byte, 16)
	for _, request := range []*sv2pb.PublishRequest{
		{Message: &sv2pb.PublishRequest_Start{Start: &sv2pb.PublishStart{Protocol: 1, SidecarId: "s",
			SourceId: source, Durable: true, FirstSeq: 1}}},
		{Message: &sv2pb.PublishRequest_Batch{Batch: &sv2pb.EventBatch{
			Events: []*sv2pb.Event{{Seq: 1}, {Seq: 2}}}}},
	} {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	ready, err := stream.Recv()
	if err != nil || ready.GetReady().GetHaveSeq() != 1 || ready.GetReady().GetSoftware() != "pool/1" {
		t.Fatalf("%v, %v", ready, err)
	}
	if ack, err := stream.Recv(); err != nil || ack.GetAck().GetSeq() != 2 {
		t.Errorf("%v, %v", ack, err)
	}
	if got := <-sink.kept; got.GetSeq() != 2 || len(sink.kept) != 0 {
		t.Errorf("kept %v, and %d more", got, len(sink.kept))
	}
}

func TestKeepaliveAllowsThePingsOfASidecar(t *testing.T) {
	if policy := enforcement(); policy.MinTime != 5*time.Second || !policy.PermitWithoutStream {
		t.Errorf("policy is %+v", policy)
	}
}
