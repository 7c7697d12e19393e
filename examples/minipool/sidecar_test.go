// The other end of the socket: a sidecar with miners, on a real gRPC connection.

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	standard = sv2pb.ChannelKind_CHANNEL_KIND_STANDARD
	extended = sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED
)

var kinds = []sv2pb.ChannelKind{standard, extended}

// sidecar is one session with a pool. Not for several goroutines.
type sidecar struct {
	t          testing.TB
	stream     grpc.BidiStreamingClient[sv2pb.SessionRequest, sv2pb.SessionResponse]
	hangUp     func()
	hello      *sv2pb.Hello
	welcome    *sv2pb.Welcome
	channels   map[uint64]*miner
	verdicts   map[uint64]*sv2pb.Verdict
	results    map[uint64]*sv2pb.BlockResult
	kicks      []*sv2pb.Kick
	drained    bool
	lastSubmit uint64
	lastID     uint64
}

// miner is a channel and what it was told.
type miner struct {
	sidecar *sidecar
	id      uint64
	prefix  []byte
	size    int
	target  sv2.Target
	job     *sv2.Job // the newest
	rolled  uint64
	refused *sv2pb.ChannelRefused
}

// dial connects to a pool's socket and says Hello.
func dial(t testing.TB, socket string) *sidecar {
	t.Helper()
	session := make([]byte, 16)
	_, _ = rand.Read(session) // never fails
	return dialAs(t, socket, &sv2pb.Hello{Protocol: 1, SidecarId: "test", BootId: make([]byte, 16),
		SessionId: session, MaxInFlight: 4096})
}

// dialAs is dial with that Hello, under the next number of its session.
func dialAs(t testing.TB, socket string, hello *sv2pb.Hello) *sidecar {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s := &sidecar{t: t, hello: hello, channels: map[uint64]*miner{}, verdicts: map[uint64]*sv2pb.Verdict{},
		results: map[uint64]*sv2pb.BlockResult{}}
	s.hangUp = func() {
		cancel()
		_ = conn.Close()
	}
	t.Cleanup(s.hangUp)
	s.stream, err = sv2pb.NewWorkServiceClient(conn).Session(metadata.NewOutgoingContext(ctx,
		metadata.Pairs(grpchost.ProtocolHeader, "1")), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	hello.Dial++
	s.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}})
	s.until("Welcome", func() bool { return s.welcome != nil })
	return s
}

func (s *sidecar) send(request *sv2pb.SessionRequest) {
	s.t.Helper()
	if err := s.stream.Send(request); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// until takes messages until the condition holds.
func (s *sidecar) until(what string, holds func() bool) {
	s.t.Helper()
	for !holds() {
		message, err := s.stream.Recv()
		if err != nil {
			s.t.Fatalf("while waiting for %s: %v", what, err)
		}
		s.take(message)
	}
}

// take books one message.
func (s *sidecar) take(message *sv2pb.SessionResponse) {
	switch m := message.GetMessage().(type) {
	case *sv2pb.SessionResponse_Welcome:
		s.welcome = m.Welcome
	case *sv2pb.SessionResponse_ChannelOpened:
		c := s.channels[m.ChannelOpened.GetChannelId()]
		c.prefix, c.size = m.ChannelOpened.GetExtranoncePrefix(), int(m.ChannelOpened.GetExtranonceSize())
		c.target = sv2.Target(m.ChannelOpened.GetTarget())
		c.job = jobFrom(m.ChannelOpened.GetJob())
	case *sv2pb.SessionResponse_ChannelRefused:
		s.channels[m.ChannelRefused.GetChannelId()].refused = m.ChannelRefused
	case *sv2pb.SessionResponse_Job:
		for _, id := range m.Job.GetChannelIds() {
			s.channels[id].job = jobFrom(m.Job)
		}
	case *sv2pb.SessionResponse_SetTarget:
		s.channels[m.SetTarget.GetChannelId()].target = sv2.Target(m.SetTarget.GetTarget())
	case *sv2pb.SessionResponse_VerdictBatch:
		for _, verdict := range m.VerdictBatch.GetVerdicts() {
			if s.verdicts[verdict.GetSubmitId()] != nil {
				s.t.Errorf("second verdict on submit %d", verdict.GetSubmitId())
			}
			s.verdicts[verdict.GetSubmitId()] = verdict
		}
	case *sv2pb.SessionResponse_BlockResult:
		s.results[m.BlockResult.GetSubmitId()] = m.BlockResult
	case *sv2pb.SessionResponse_Kick:
		s.kicks = append(s.kicks, m.Kick)
	case *sv2pb.SessionResponse_Drain:
		s.drained = true
	default:
		s.t.Errorf("unexpected message %T", m)
	}
}

func jobFrom(m *sv2pb.Job) *sv2.Job {
	job := &sv2.Job{ID: m.GetId(), PrevHash: sv2.Hash(m.GetPrevHash()), NBits: m.GetNbits(),
		Version: m.GetVersion(), VersionMask: m.GetVersionMask(), MinNTime: m.GetMinNtime(),
		MaxNTime: m.GetMaxNtime(), CoinbasePrefix: m.GetCoinbasePrefix(),
		CoinbaseSuffix: m.GetCoinbaseSuffix(), StaleRule: sv2.StaleRule(m.GetStaleRule()),
		Height: m.GetHeight()}
	for _, node := range m.GetMerklePath() {
		job.MerklePath = append(job.MerklePath, sv2.Hash(node))
	}
	return job
}

// ask sends OpenChannel and waits for the answer, whichever it is.
func (s *sidecar) ask(kind sv2pb.ChannelKind, identity []byte) *miner {
	s.t.Helper()
	s.lastID++
	c := &miner{sidecar: s, id: s.lastID}
	s.channels[c.id] = c
	open := &sv2pb.OpenChannel{ChannelId: c.id, Kind: kind, UserIdentity: identity,
		Connection: &sv2pb.Connection{Id: 1000 + c.id, RemoteAddress: "127.0.0.1:1"},
		MaxTarget:  sv2.MaxTarget[:]}
	s.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: open}})
	s.until("an answer to OpenChannel", func() bool { return c.job != nil || c.refused != nil })
	return c
}

// open opens a channel, which must not be refused.
func (s *sidecar) open(kind sv2pb.ChannelKind, identity string) *miner {
	s.t.Helper()
	c := s.ask(kind, []byte(identity))
	if c.refused != nil {
		s.t.Fatalf("refused: %v", c.refused)
	}
	return c
}

// submit sends shares in one batch and names them.
func (s *sidecar) submit(submits ...*sv2pb.Submit) {
	s.t.Helper()
	for _, submit := range submits {
		s.lastSubmit++
		submit.Id = s.lastSubmit
	}
	s.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: submits}}})
}

// judge sends shares and waits for their verdicts.
func (s *sidecar) judge(submits ...*sv2pb.Submit) []*sv2pb.Verdict {
	s.t.Helper()
	s.submit(submits...)
	verdicts := make([]*sv2pb.Verdict, len(submits))
	for i, submit := range submits {
		s.until("a verdict", func() bool { return s.verdicts[submit.GetId()] != nil })
		verdicts[i] = s.verdicts[submit.GetId()]
	}
	return verdicts
}

// mine looks for a header of the job whose hash is what good wants.
func (c *miner) mine(job *sv2.Job, good func(hash sv2.Hash) bool) (*sv2pb.Submit, sv2.Hash) {
	c.rolled++
	extranonce := make([]byte, c.size)
	if c.size >= 8 {
		binary.BigEndian.PutUint64(extranonce, c.rolled)
	}
	root := sv2.MerkleRoot(job, c.prefix, extranonce)
	share := sv2.Submit{NTime: job.MinNTime, Version: job.Version ^ uint32(c.rolled)<<5&job.VersionMask}
	for ; ; share.Nonce++ {
		if hash := sv2.HashHeader(sv2.Header(job, root, share)); good(hash) {
			return &sv2pb.Submit{ChannelId: c.id, JobId: job.ID, Nonce: share.Nonce,
				Ntime: share.NTime, Version: share.Version, Extranonce: extranonce}, hash
		}
	}
}

func (c *miner) network(job *sv2.Job) sv2.Target {
	target, err := sv2.TargetFromNBits(job.NBits)
	if err != nil {
		c.sidecar.t.Fatal(err)
	}
	return target
}

// share is a share of the newest job that is no block.
func (c *miner) share() (*sv2pb.Submit, sv2.Hash) {
	network := c.network(c.job)
	return c.mine(c.job, func(h sv2.Hash) bool { return h.Meets(c.target) && !h.Meets(network) })
}

// block is a block of a job.
func (c *miner) block(job *sv2.Job) (*sv2pb.Submit, sv2.Hash) {
	network := c.network(job)
	return c.mine(job, func(h sv2.Hash) bool { return h.Meets(network) })
}

// worthless is a header of the newest job that no target reaches.
func (c *miner) worthless() *sv2pb.Submit {
	submit, _ := c.mine(c.job, func(h sv2.Hash) bool { return !h.Meets(c.target) })
	return submit
}
