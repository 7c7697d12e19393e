// What a share takes from the heap, and its time, between gRPC and a host.

package grpchost

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// quickHost accepts every share at once and unseen, in memory that it uses again.
type quickHost struct{}

func (quickHost) Limits() sv2.Limits { return sv2.Limits{Easiest: sv2.MaxTarget} }

func (quickHost) OpenChannel(
	_ context.Context, _ sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	job := &sv2.Job{ID: 1, PrevHash: sv2.Hash{1}, NBits: 0x1d00ffff, Version: 0x20000000,
		MinNTime: 1_700_000_000, CoinbasePrefix: []byte{1}, CoinbaseSuffix: []byte{2}}
	return &quickChannel{sink: sink},
		sv2.Opened{Prefix: []byte{1}, ExtranonceSize: 8, Target: sv2.MaxTarget, Job: job}, nil
}

func (quickHost) Drain(context.Context) error { return nil }

type quickChannel struct {
	sink     sv2.Sink
	verdicts []sv2.Verdict
}

func (c *quickChannel) Submit(batch []sv2.Submit) {
	c.verdicts = c.verdicts[:0]
	for i := range batch {
		c.verdicts = append(c.verdicts, sv2.Verdict{SubmitID: batch[i].ID, Hash: sv2.Hash{1},
			Credit: sv2.Difficulty{Whole: 1}})
	}
	c.sink.Verdicts(c.verdicts)
}

func (*quickChannel) Update(context.Context, sv2.UpdateRequest) error { return nil }

func (*quickChannel) Close(string) {}

// frugal is a codec for the sidecar's end that takes next to nothing for a batch: []byte is sent as it
// is, and of what comes only the verdicts are counted.
type frugal struct{ codec }

func (f frugal) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*[]byte); ok {
		return mem.BufferSlice{mem.Copy(*raw, mem.DefaultBufferPool())}, nil
	}
	return f.codec.Marshal(v)
}

func (f frugal) Unmarshal(data mem.BufferSlice, v any) error {
	count, ok := v.(*int)
	if !ok {
		return f.codec.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	response := whole.ReadOnlyData()
	if response[0] != tagVerdictBatch {
		return fmt.Errorf("%x: no verdicts", response)
	}
	batch, _ := protowire.ConsumeBytes(response[1:])
	for *count = 0; len(batch) > 0; *count++ {
		_, n := protowire.ConsumeBytes(batch[1:])
		batch = batch[1+n:]
	}
	return nil
}

// sharer is a sidecar with some channels that sends shares on a real socket.
type sharer struct {
	stream  grpc.ClientStream
	request []byte
	ids     uint64
}

const sharerChannels = 16

func newSharer(t testing.TB) *sharer {
	t.Helper()
	server, err := New(quickHost{}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sock")
	listener, err := ListenUnix(path, UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(frugal{newCodec()})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s := &sharer{}
	s.stream, err = conn.NewStream(metadata.NewOutgoingContext(ctx, metadata.Pairs(ProtocolHeader, "1")),
		&sv2pb.WorkService_ServiceDesc.Streams[0], sv2pb.WorkService_Session_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	s.ask(t, &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: goodHello(1)}})
	for id := range uint64(sharerChannels) {
		s.ask(t, &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_OpenChannel{
			OpenChannel: &sv2pb.OpenChannel{ChannelId: id + 1,
				Kind:       sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED,
				Connection: &sv2pb.Connection{Id: id + 1}, MaxTarget: sv2.MaxTarget[:]}}})
	}
	return s
}

// ask sends a message and takes the answer.
func (s *sharer) ask(t testing.TB, request proto.Message) {
	t.Helper()
	var response sv2pb.SessionResponse
	if err := s.stream.SendMsg(request); err != nil {
		t.Fatal(err)
	}
	if err := s.stream.RecvMsg(&response); err != nil {
		t.Fatal(err)
	}
}

// share sends a batch of so many shares, all channels in turn.
func (s *sharer) share(t testing.TB, shares int) {
	var memory [64]byte
	s.request = s.request[:0]
	for range shares {
		s.ids++
		submit := protowire.AppendVarint(append(memory[:0], tagSubmitID), s.ids)
		submit = append(submit, tagChannelID, byte(1+s.ids%sharerChannels), tagJobID, 1)
		submit = protowire.AppendFixed32(append(submit, tagNonce), uint32(s.ids))
		submit = protowire.AppendFixed32(append(submit, tagNTime), 1_700_000_001)
		submit = protowire.AppendFixed32(append(submit, tagVersion), 0x20000000)
		submit = append(submit, tagExtranonce, 8, 1, 2, 3, 4, 5, 6, 7, 8)
		s.request = protowire.AppendBytes(append(s.request, tagSubmits), submit)
	}
	size := len(s.request)
	header := protowire.AppendVarint(append(memory[:0], tagSubmitBatch), uint64(size))
	s.request = append(s.request, header...)
	copy(s.request[len(header):], s.request[:size])
	copy(s.request, header)
	if err := s.stream.SendMsg(&s.request); err != nil {
		t.Fatal(err)
	}
}

// heard takes so many verdicts.
func (s *sharer) heard(t testing.TB, shares int) {
	for shares > 0 {
		count := 0
		if err := s.stream.RecvMsg(&count); err != nil {
			t.Fatal(err)
		}
		shares -= count
	}
}

// Both ends of the stream are counted, and all that gRPC takes for a message.
func TestTakesNoObjectForAShare(t *testing.T) {
	s := newSharer(t)
	objects := testing.AllocsPerRun(200, func() {
		s.share(t, session.MaxBatch)
		s.heard(t, session.MaxBatch)
	}) / session.MaxBatch
	t.Logf("%.3f objects a share", objects)
	if objects >= 0.5 {
		t.Errorf("%.2f objects a share", objects)
	}
}

// One batch there, its verdicts back.
func BenchmarkShares(b *testing.B) {
	for _, size := range []int{1, 16, session.MaxBatch} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := newSharer(b)
			b.ReportAllocs()
			for b.Loop() {
				s.share(b, size)
				s.heard(b, size)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/share")
		})
	}
}
