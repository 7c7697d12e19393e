// The vectors that all implementations here share (tests/vectors).

package sv2client

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// shareVector is the share of tests/vectors. It rolls the version bits 5 and 13.
type shareVector struct {
	Job struct {
		Version        uint32   `json:"version"`
		PrevHash       hexText  `json:"prev_hash"`
		NBits          string   `json:"nbits"`
		MinNTime       uint32   `json:"min_ntime"`
		CoinbasePrefix hexText  `json:"coinbase_prefix"`
		CoinbaseSuffix hexText  `json:"coinbase_suffix"`
		MerklePath     []string `json:"merkle_path"`
	} `json:"job"`
	Submit struct {
		ChannelID uint32 `json:"channel_id"`
		Sequence  uint32 `json:"sequence"`
		JobID     uint32 `json:"job_id"`
		Nonce     uint32 `json:"nonce"`
		NTime     uint32 `json:"ntime"`
		Version   uint32 `json:"version"`
	} `json:"submit"`
	Channels []struct {
		Kind             string  `json:"kind"`
		ExtranoncePrefix hexText `json:"extranonce_prefix"`
		Extranonce       hexText `json:"extranonce"`
		Payload          string  `json:"payload"`
	} `json:"channels"`
	TxID     string `json:"coinbase_txid"`
	Root     string `json:"merkle_root"`
	Header   string `json:"header"`
	Hash     string `json:"hash"`
	Verdicts []struct {
		Target hexText `json:"target"`
		Reason string  `json:"reason"`
	} `json:"verdicts"`
}

// hexText is bytes that are written in hexadecimal.
type hexText []byte

func (b *hexText) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// vectorWork is the vector as work on its extended channel, and the share.
func vectorWork(t testing.TB) (v shareVector, work Work, share Share) {
	t.Helper()
	readVectors(t, "share.json", &v)
	extended := &NewExtendedMiningJob{
		CoinbasePrefix: v.Job.CoinbasePrefix, CoinbaseSuffix: v.Job.CoinbaseSuffix,
	}
	for _, node := range v.Job.MerklePath {
		extended.MerklePath = append(extended.MerklePath, Hash(unhex(t, node)))
	}
	channel := v.Channels[0]
	work = Work{
		Kind: Extended, JobID: v.Submit.JobID, Version: v.Job.Version, VersionRolling: true,
		PrevHash: Hash(v.Job.PrevHash), NBits: binary.BigEndian.Uint32(unhex(t, v.Job.NBits)),
		MinNTime: v.Job.MinNTime, ExtranonceSize: len(channel.Extranonce),
		job: &job{prefix: channel.ExtranoncePrefix, extended: extended},
	}
	share = Share{JobID: v.Submit.JobID, Nonce: v.Submit.Nonce, NTime: v.Submit.NTime,
		Version: v.Submit.Version, Extranonce: channel.Extranonce}
	return v, work, share
}

// targetVectors is targets.json.
type targetVectors struct {
	Difficulties []struct {
		Difficulty float64 `json:"difficulty"`
		Target     hexText `json:"target"`
	} `json:"difficulties"`
	NBits []struct {
		NBits  hexText  `json:"nbits"`
		Target *hexText `json:"target"`
	} `json:"nbits"`
	Meets []struct {
		Name   string  `json:"name"`
		Hash   hexText `json:"hash"`
		Target hexText `json:"target"`
		Meets  bool    `json:"meets"`
	} `json:"meets"`
}
