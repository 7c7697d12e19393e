// A thousand channels that come, submit and go as they like.
package sv1host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// crowdPool serves any number of miners: each has an extranonce of its own, gets jobs at random, and is
// hung up on now and then. It counts what it accepts.
type crowdPool struct {
	extranonces atomic.Uint32
	accepted    atomic.Int64
}

func (p *crowdPool) serve(ctx context.Context, conn net.Conn) {
	extranonce := p.extranonces.Add(1)
	random := rand.New(rand.NewPCG(uint64(extranonce), 1))
	job := 0
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var a asked
		if json.Unmarshal(lines.Bytes(), &a) != nil || ctx.Err() != nil {
			return
		}
		answer := yes
		switch a.Method {
		case methodSubscribe:
			answer = fmt.Sprintf(`"result":[[],"%08x",4],"error":null`, extranonce)
		case methodConfigure:
			answer = `"result":{"version-rolling":true,"version-rolling.mask":"1fffffe0"},"error":null`
		case "mining.submit":
			switch random.IntN(64) {
			case 0:
				answer = `"result":false,"error":[21,"job not found",null]`
			case 1:
				continue // never answered
			case 2:
				return
			case 3:
				_, _ = io.WriteString(conn, messageLine("Banned: at random"))
			default:
				p.accepted.Add(1)
			}
		}
		text := fmt.Sprintf(`{"id":%s,%s}`, a.ID, answer) + "\n"
		if a.Method == methodConfigure || random.IntN(8) == 0 {
			job++
			text += difficultyLine(easyDifficulty) +
				notifyLine(fmt.Sprint(job), 'a'+byte(job/4), hardBits, false)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// crowdSink counts, and has the newest job.
type crowdSink struct {
	job      atomic.Pointer[sv2.Job]
	owed     sync.Map // ids of submits without a verdict
	kicked   atomic.Bool
	accepted *atomic.Int64
	t        *testing.T
}

func (s *crowdSink) Job(job *sv2.Job)            { s.job.Store(job) }
func (s *crowdSink) Target(sv2.Target)           {}
func (s *crowdSink) BlockResult(sv2.BlockResult) {}
func (s *crowdSink) Kick(sv2.Kick)               { s.kicked.Store(true) }
func (s *crowdSink) Verdicts(verdicts []sv2.Verdict) {
	for _, verdict := range verdicts {
		if _, owed := s.owed.LoadAndDelete(verdict.SubmitID); !owed {
			s.t.Errorf("a verdict too many: %+v", verdict)
		}
		if verdict.Accepted() {
			s.accepted.Add(1)
		}
	}
}

func TestSurvivesAThousandChannelsThatComeAndGo(t *testing.T) {
	pool := &crowdPool{}
	r := newRig(t, script{}, func(o *Options) { o.Serve = pool.serve })
	var miners sync.WaitGroup
	var accepted atomic.Int64
	for i := range 1000 {
		miners.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			for range 1 + random.IntN(2) {
				crowdMiner(t, r.Host, random, &accepted)
			}
		})
	}
	miners.Wait()
	if n := r.Channels(); n != 0 {
		t.Errorf("%d channels stay", n)
	}
	r.close()
	// What miners were told is accepted the pool has in its books; who left was told nothing.
	if told, booked := accepted.Load(), pool.accepted.Load(); told == 0 || told > booked {
		t.Errorf("%d shares told to be accepted, %d accepted by the pool", told, booked)
	}
}

// crowdMiner is the life of one channel.
func crowdMiner(t *testing.T, host *Host, random *rand.Rand, accepted *atomic.Int64) {
	sink := &crowdSink{accepted: accepted, t: t}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if random.IntN(16) == 0 {
		go cancel() // leaves while the channel is being opened
	}
	request := extendedRequest()
	if random.IntN(2) == 0 {
		request.Kind = sv2.Standard
	}
	channel, opened, err := host.OpenChannel(ctx, request, sink)
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("open: %v", err)
		}
		return
	}
	defer channel.Close("the miner leaves")
	sink.job.CompareAndSwap(nil, opened.Job)
	m := &miner{t: t, opened: opened, nonce: random.Uint32N(1 << 20)}
	for range random.IntN(40) {
		var batch []sv2.Submit
		for range 1 + random.IntN(4) {
			share := m.share(sink.job.Load())
			sink.owed.Store(share.ID, true)
			batch = append(batch, share)
		}
		channel.Submit(batch)
		if random.IntN(16) == 0 {
			_ = channel.Update(ctx, sv2.UpdateRequest{NominalHashRate: float64(random.IntN(1e6)),
				MaxTarget: sv2.MaxTarget})
		}
		if sink.kicked.Load() {
			return
		}
	}
}
