// The share of the protocol notes (vector V2): coinbase to header hash, byte for byte.
package sv2

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatalf("hex %q: %v", text, err)
	}
	return raw
}

func hash32(t testing.TB, text string) (h [32]byte) {
	t.Helper()
	if copy(h[:], unhex(t, text)) != 32 || len(text) != 64 {
		t.Fatalf("%q is not 32 bytes", text)
	}
	return h
}

func repeated(b byte) (h Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

const (
	vectorCoinbasePrefix = "020000000100000000000000000000000000000000000000000000000000000000000000" +
		"00ffffffff190301020314"
	vectorCoinbaseSuffix = "ffffffff01205fa01200000000160014abababababababababababababababababababab" +
		"00000000"
	vectorHeader = "20200020aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa00000000bd42" +
		"5d34c260faad07d618769d1d95243649fe691f63ae1a868d8304f8e9cc3600b95569ffff001df14d0000"
	vectorRoot = "bd425d34c260faad07d618769d1d95243649fe691f63ae1a868d8304f8e9cc36"
	vectorHash = "b8ec585bb677dfbc7e273d47ab3351b63a10706c5351cdd0eb6fd252e9a10000"
)

// vector is the job, prefix and submit of V2.
func vector(t testing.TB) (job *Job, prefix []byte, submit Submit) {
	t.Helper()
	prev := repeated(0xaa)
	clear(prev[28:])
	job = &Job{
		ID: 1, PrevHash: prev, NBits: 0x1d00ffff, Version: 0x20000000, VersionMask: 0x1fffffe0,
		MinNTime: 1767225600, MerklePath: []Hash{repeated(0x11), repeated(0x22)},
		CoinbasePrefix: unhex(t, vectorCoinbasePrefix),
		CoinbaseSuffix: unhex(t, vectorCoinbaseSuffix),
		StaleRule:      StaleHost,
	}
	return job, unhex(t, "01000000"), Submit{
		ID: 7, JobID: 1, Nonce: 0x4df1, NTime: 1767225600, Version: 0x20002020,
		Extranonce: unhex(t, "000102030405060708090a0b0c0d0e0f"),
	}
}

func vectorTime() time.Time { return time.Unix(1767225600, 0) }

func TestHeaderOfTheVectorByteForByte(t *testing.T) {
	job, prefix, submit := vector(t)
	coinbase := Coinbase(job, prefix, submit.Extranonce)
	want := unhex(t, vectorCoinbasePrefix+"01000000000102030405060708090a0b0c0d0e0f"+
		vectorCoinbaseSuffix)
	if !bytes.Equal(coinbase, want) {
		t.Errorf("coinbase %x", coinbase)
	}
	bare := *job
	bare.MerklePath = nil
	txid := MerkleRoot(&bare, prefix, submit.Extranonce)
	if txid != hash32(t, "a3664ff00ddbcde18d2bdcc6329f70d507f81fd49f98ec257a212e03d00d2c8c") {
		t.Errorf("coinbase txid %x", txid[:])
	}
	root := MerkleRoot(job, prefix, submit.Extranonce)
	if root != hash32(t, vectorRoot) {
		t.Errorf("merkle root %x", root[:])
	}
	header := Header(job, root, submit)
	if !bytes.Equal(header[:], unhex(t, vectorHeader)) {
		t.Errorf("header %x", header)
	}
	if hash := HashHeader(header); hash != hash32(t, vectorHash) {
		t.Errorf("hash %x", hash[:])
	}
}

func TestJudgesTheVectorAtItsThreeTargets(t *testing.T) {
	easy := Target(hash32(t, "98e73d35112fe73e629b836726c35c1af3a6a00ea71bb78c6479c2a0894f0100"))
	equal := Target(hash32(t, vectorHash))
	below := equal
	below[0]--
	for _, test := range []struct {
		name   string
		target Target
		want   RejectReason
	}{
		{"easier", easy, RejectNone},
		{"equal", equal, RejectNone},
		{"one below", below, RejectLowDifficulty},
	} {
		t.Run(test.name, func(t *testing.T) {
			job, prefix, submit := vector(t)
			check := NewCheck(prefix, 16, test.target, NewSeen(0, 0))
			if err := check.AddJob(job); err != nil {
				t.Fatal(err)
			}
			got := check.Judge(submit, vectorTime())
			want := Verdict{SubmitID: 7, Reason: test.want, Hash: hash32(t, vectorHash)}
			if test.want == RejectNone {
				want.Credit = test.target.Difficulty()
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestRejectsTheVectorUnderTheNarrowMask(t *testing.T) {
	job, prefix, submit := vector(t)
	job.VersionMask = 0x1fffe000 // BIP320: bit 5 is not in it
	check := NewCheck(prefix, 16, MaxTarget, NewSeen(0, 0))
	if err := check.AddJob(job); err != nil {
		t.Fatal(err)
	}
	if got := check.Judge(submit, vectorTime()); got.Reason != RejectVersionBit {
		t.Errorf("verdict %+v", got)
	}
}
