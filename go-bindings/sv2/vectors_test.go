// The vectors that all implementations here share (tests/vectors).
package sv2

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// vectorBytes is written in hexadecimal.
type vectorBytes []byte

func (b *vectorBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func (b vectorBytes) String() string { return hex.EncodeToString(b) }

func (b vectorBytes) array(t testing.TB) [32]byte {
	t.Helper()
	if len(b) != 32 {
		t.Fatalf("%x is not 32 bytes", []byte(b))
	}
	return [32]byte(b)
}

// word reads eight digits as they are written: not little-endian.
func (b vectorBytes) word(t testing.TB) uint32 {
	t.Helper()
	if len(b) != 4 {
		t.Fatalf("%x is not 4 bytes", []byte(b))
	}
	return binary.BigEndian.Uint32(b)
}

// shareVector is share.json.
type shareVector struct {
	Job struct {
		Version        uint32        `json:"version"`
		VersionMask    uint32        `json:"version_mask"`
		PrevHash       vectorBytes   `json:"prev_hash"`
		NBits          vectorBytes   `json:"nbits"`
		MinNTime       uint32        `json:"min_ntime"`
		CoinbasePrefix vectorBytes   `json:"coinbase_prefix"`
		CoinbaseSuffix vectorBytes   `json:"coinbase_suffix"`
		MerklePath     []vectorBytes `json:"merkle_path"`
	} `json:"job"`
	Submit struct {
		JobID   uint64 `json:"job_id"`
		Nonce   uint32 `json:"nonce"`
		NTime   uint32 `json:"ntime"`
		Version uint32 `json:"version"`
	} `json:"submit"`
	Channels []struct {
		Kind             string      `json:"kind"`
		ExtranoncePrefix vectorBytes `json:"extranonce_prefix"`
		Extranonce       vectorBytes `json:"extranonce"`
	} `json:"channels"`
	Coinbase     vectorBytes `json:"coinbase"`
	CoinbaseTxID vectorBytes `json:"coinbase_txid"`
	MerkleRoot   vectorBytes `json:"merkle_root"`
	Header       vectorBytes `json:"header"`
	Hash         vectorBytes `json:"hash"`
	Verdicts     []struct {
		Target vectorBytes `json:"target"`
		Reason string      `json:"reason"`
	} `json:"verdicts"`
	Policy []struct {
		Name   string `json:"name"`
		Change struct {
			JobID       *uint64      `json:"job_id"`
			NTime       *uint32      `json:"ntime"`
			Version     *uint32      `json:"version"`
			Extranonce  *vectorBytes `json:"extranonce"`
			VersionMask *uint32      `json:"version_mask"`
			MaxNTime    *uint32      `json:"max_ntime"`
		} `json:"change"`
		Now    int64  `json:"now"`
		Reason string `json:"reason"`
	} `json:"policy"`
}

// targetVectors is targets.json.
type targetVectors struct {
	Difficulties []struct {
		Difficulty float64     `json:"difficulty"`
		Target     vectorBytes `json:"target"`
		Whole      uint64      `json:"whole"`
		Fraction   uint32      `json:"fraction"`
	} `json:"difficulties"`
	HashRates []struct {
		HashRate        float64     `json:"hash_rate"`
		SharesPerMinute float64     `json:"shares_per_minute"`
		Target          vectorBytes `json:"target"`
	} `json:"hash_rates"`
	NBits []struct {
		NBits  vectorBytes  `json:"nbits"`
		Target *vectorBytes `json:"target"`
	} `json:"nbits"`
	Bounds []struct {
		Name   string      `json:"name"`
		Wanted vectorBytes `json:"wanted"`
		Pool   vectorBytes `json:"pool"`
		Miner  vectorBytes `json:"miner"`
		Target vectorBytes `json:"target"`
	} `json:"bounds"`
	Meets []struct {
		Name   string      `json:"name"`
		Hash   vectorBytes `json:"hash"`
		Target vectorBytes `json:"target"`
		Meets  bool        `json:"meets"`
	} `json:"meets"`
}

func readVectors[T any](t testing.TB, name string) (vectors T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "tests", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return vectors
}
