// From a job to a hash, by a share that an implementation in another language computed.

package sv2client

import (
	"encoding/hex"
	"math"
	"math/big"
	"strings"
	"testing"
)

// vectorWork is an extended channel with a whole extranonce of 20 bytes, and a share on it that rolls the
// version bits 5 and 13.
func vectorWork(t testing.TB) (Work, Share) {
	t.Helper()
	prevHash := Hash(unhex(t, strings.Repeat("aa", 28)+"00000000"))
	work := Work{
		Kind: Extended, JobID: 1, Version: 0x20000000, VersionRolling: true, PrevHash: prevHash,
		NBits: 0x1d00ffff, MinNTime: 0x6955b900, ExtranonceSize: 16,
		job: &job{prefix: []byte{1, 0, 0, 0}, extended: &NewExtendedMiningJob{
			MerklePath: []Hash{Hash(unhex(t, strings.Repeat("11", 32))),
				Hash(unhex(t, strings.Repeat("22", 32)))},
			CoinbasePrefix: unhex(t, "02000000010000000000000000000000000000000000000000000000000000"+
				"000000000000ffffffff190301020314"),
			CoinbaseSuffix: unhex(t, "ffffffff01205fa01200000000160014abababababababababababababababab"+
				"abababab00000000"),
		}},
	}
	share := Share{JobID: 1, Nonce: 0x4df1, NTime: 0x6955b900, Version: 0x20002020,
		Extranonce: unhex(t, "000102030405060708090a0b0c0d0e0f")}
	return work, share
}

const vectorShareHash = "b8ec585bb677dfbc7e273d47ab3351b63a10706c5351cdd0eb6fd252e9a10000"

func TestComputesTheShareOfTheVector(t *testing.T) {
	work, share := vectorWork(t)
	pathless := *work.job.extended
	pathless.MerklePath = nil
	txid := merkleRoot(&pathless, work.job.prefix, share.Extranonce)
	same(t, "coinbase txid", txid[:], "a3664ff00ddbcde18d2bdcc6329f70d507f81fd49f98ec257a212e03d00d2c8c")
	root, err := work.MerkleRoot(share.Extranonce)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "merkle root", root[:], "bd425d34c260faad07d618769d1d95243649fe691f63ae1a868d8304f8e9cc36")
	header := work.Header(share, root)
	same(t, "header", header[:], "20200020"+strings.Repeat("aa", 28)+"00000000"+
		"bd425d34c260faad07d618769d1d95243649fe691f63ae1a868d8304f8e9cc36"+"00b95569ffff001df14d0000")
	hash, err := work.Hash(share)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "hash", hash[:], vectorShareHash)
	for target, want := range map[string]bool{
		vectorShareHash: true,
		"b7ec585bb677dfbc7e273d47ab3351b63a10706c5351cdd0eb6fd252e9a10000": false,
		"98e73d35112fe73e629b836726c35c1af3a6a00ea71bb78c6479c2a0894f0100": true,
	} {
		if got := Target(unhex(t, target)).MetBy(hash); got != want {
			t.Errorf("target %s met: %v", target, got)
		}
	}
}

func TestWritesTheSubmitOfTheVector(t *testing.T) {
	_, share := vectorWork(t)
	standard := SubmitSharesStandard{ChannelID: 2, SequenceNumber: 1, JobID: share.JobID,
		Nonce: share.Nonce, NTime: share.NTime, Version: share.Version}
	f, err := toFrame(&SubmitSharesExtended{standard, share.Extranonce, nil})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "payload", f.payload, "020000000100000001000000f14d000000b9556920200020"+
		"10000102030405060708090a0b0c0d0e0f")
	if f.extension != channelBit || f.kind != 0x1b {
		t.Errorf("header %04x %02x", f.extension, f.kind)
	}
}

func TestRejectsExtranoncesOfAnotherSize(t *testing.T) {
	work, share := vectorWork(t)
	for _, size := range []int{0, 15, 17, 32} {
		share.Extranonce = make([]byte, size)
		if _, err := work.Hash(share); err == nil {
			t.Errorf("%d bytes were taken", size)
		}
	}
}

func TestRejectsWorkOfNoChannel(t *testing.T) {
	if _, err := (Work{}).Hash(Share{}); err == nil {
		t.Error("it has a hash")
	}
}

func TestKnowsTheDifficultyOfTargets(t *testing.T) {
	for _, c := range []struct {
		target     string
		difficulty float64
	}{
		{zeros(26) + "ffff" + zeros(4), 1},
		{zeros(25) + "80ff7f" + zeros(4), 2},
		{zeros(24) + "c0ff3f" + zeros(5), 1024},
		{zeros(24) + "ffff" + zeros(6), 65536},
		{zeros(23) + "f0ff0f" + zeros(6), 1 << 20},
		{"a1b2464e314fca7149a0b1727e2ae6b2db764c7a69734968c2251c0000000000", 2328.27},
		{zeros(32), math.Inf(1)},
	} {
		got := Target(unhex(t, c.target)).Difficulty()
		if got != c.difficulty && math.Abs(got-c.difficulty) > 0.01 {
			t.Errorf("%s: %v, want %v", c.target, got, c.difficulty)
		}
	}
	if got := MaxTarget().Difficulty(); got <= 0 || got >= 1.0/(1<<31) {
		t.Errorf("the easiest target has difficulty %v", got)
	}
}

func TestComparesTargetsAsNumbers(t *testing.T) {
	low, high := Target{0: 0xff}, Target{31: 1}
	if !high.MetBy(Hash(low)) || low.MetBy(Hash(high)) || !low.MetBy(Hash(low)) {
		t.Error("the last byte is the most significant one")
	}
	if high.Harder(low) != low || low.Harder(high) != low {
		t.Error("the harder target is the smaller one")
	}
	if got := high.String(); got != "01"+strings.Repeat("00", 31) {
		t.Errorf("printed as %s", got)
	}
}

func TestReadsCompactTargets(t *testing.T) {
	for nBits, want := range map[uint32]string{
		0x1d00ffff: "ffff" + strings.Repeat("00", 26),
		0x207fffff: "7fffff" + strings.Repeat("00", 29),
		0x1e0fffff: "0fffff" + strings.Repeat("00", 27),
		0x03123456: "123456",
		0x02123456: "1234",
		0x01123456: "12",
		0x00123456: "0",
	} {
		target, err := TargetFromNBits(nBits)
		number, ok := new(big.Int).SetString(want, 16)
		if err != nil || !ok || new(big.Int).SetBytes(reversed(target)).Cmp(number) != 0 {
			t.Errorf("%08x: %v, %v, want %s", nBits, target, err, want)
		}
	}
	for _, nBits := range []uint32{0x1d80ffff, 0x217fffff, 0xff000001} {
		if target, err := TargetFromNBits(nBits); err == nil {
			t.Errorf("%08x was taken as %v", nBits, target)
		}
	}
}

func TestPrintsHashesAsExplorersDo(t *testing.T) {
	hash := Hash(unhex(t, vectorShareHash))
	if got := hash.String(); !strings.HasPrefix(got, "0000a1e9") {
		t.Errorf("printed as %s", got)
	}
	if got := hex.EncodeToString(hash[:]); got != vectorShareHash {
		t.Errorf("printing changed it to %s", got)
	}
}
