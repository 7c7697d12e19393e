// From getblocktemplate to a template.

package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

// templateRequest is the argument of getblocktemplate. btcd goes by the capabilities, Bitcoin Core by
// the rules; each ignores the other's.
type templateRequest struct {
	Rules        []string `json:"rules"`
	Capabilities []string `json:"capabilities"`
	LongPollID   string   `json:"longpollid,omitempty"`
}

// blockTemplate is what matters of the answer (BIP22, BIP9, BIP145).
type blockTemplate struct {
	Version           int32    `json:"version"`
	Rules             []string `json:"rules"`
	VBRequired        uint32   `json:"vbrequired"`
	PreviousBlockHash string   `json:"previousblockhash"`
	Transactions      []struct {
		Data string `json:"data"`
		Hash string `json:"hash"` // with witness
	} `json:"transactions"`
	CoinbaseValue *int64 `json:"coinbasevalue"`
	LongPollID    string `json:"longpollid"`
	MinTime       uint32 `json:"mintime"`
	CurTime       uint32 `json:"curtime"`
	Bits          string `json:"bits"`
	Height        int32  `json:"height"`
	Commitment    string `json:"default_witness_commitment"`
}

// knownRules are those that a template of this package observes.
func knownRules(network *chaincfg.Params) []string {
	if network.Name == chaincfg.SigNetParams.Name {
		return []string{"segwit", "signet"}
	}
	return []string{"segwit"}
}

// ask gets a template. With the longPollID of an earlier one the answer comes when that is outdated.
func (n *Node) ask(ctx context.Context, longPollID string) (*offer, error) {
	var answer blockTemplate
	if err := n.rpc.call(ctx, &answer, "getblocktemplate", templateRequest{
		Rules:        knownRules(n.network),
		Capabilities: []string{"coinbasevalue", "longpoll"},
		LongPollID:   longPollID,
	}); err != nil {
		return nil, err
	}
	n.mu.Lock()
	before := n.latest
	n.mu.Unlock()
	o, err := answer.offer(n.network, before)
	if err != nil {
		return nil, fmt.Errorf("getblocktemplate: %w", err)
	}
	return o, nil
}

// offer is a template with what the node wants to know it by. It doesn't change.
type offer struct {
	*template.Template
	longPollID   string
	transactions map[chainhash.Hash]*wire.MsgTx // by hash with witness
}

// offer checks and converts the answer. Transactions that the one before had, too, are shared with it:
// templates of one tip are much the same, and the pool keeps many of them.
func (a *blockTemplate) offer(network *chaincfg.Params, before *offer) (*offer, error) {
	prevHash, err := chainhash.NewHashFromStr(a.PreviousBlockHash)
	if err != nil {
		return nil, fmt.Errorf("previousblockhash: %w", err)
	}
	bits, err := strconv.ParseUint(a.Bits, 16, 32)
	if err != nil {
		return nil, fmt.Errorf("bits: %w", err)
	}
	commitment, err := commitmentScript(a.Commitment)
	if err != nil {
		return nil, fmt.Errorf("default_witness_commitment: %w", err)
	}
	if a.CoinbaseValue == nil {
		return nil, fmt.Errorf("no coinbasevalue in it: this node gives no work to pools")
	}
	for _, rule := range a.Rules {
		// BIP9: "!" marks a rule that one must know to make a valid block.
		if must, ok := strings.CutPrefix(rule, "!"); ok && !slices.Contains(knownRules(network), must) {
			return nil, fmt.Errorf("the chain has a rule %q, which minipool doesn't know", must)
		}
	}
	o := &offer{longPollID: a.LongPollID, transactions: make(map[chainhash.Hash]*wire.MsgTx)}
	t := &template.Template{
		Height:            a.Height,
		Version:           a.Version,
		RequiredBits:      a.VBRequired,
		PrevHash:          *prevHash,
		Bits:              uint32(bits),
		MinTime:           a.MinTime,
		CurTime:           max(a.CurTime, a.MinTime),
		CoinbaseValue:     *a.CoinbaseValue,
		WitnessCommitment: commitment,
	}
	txids := make([]chainhash.Hash, len(a.Transactions))
	for i, entry := range a.Transactions {
		tx, err := o.transaction(entry.Hash, entry.Data, before)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		t.Transactions = append(t.Transactions, tx)
		txids[i] = tx.TxHash()
	}
	t.MerklePath = template.MerklePath(txids)
	o.Template = t
	return o, nil
}

// commitmentScript is the output script of a default_witness_commitment (BIP145). btcd gives only the hash
// that goes into it, and nothing when no transaction has a witness.
func commitmentScript(text string) ([]byte, error) {
	script, err := hex.DecodeString(text)
	switch {
	case err != nil:
		return nil, err
	case len(script) == chainhash.HashSize:
		return slices.Concat(blockchain.WitnessMagicBytes, script), nil
	case len(script) > 0 && !bytes.HasPrefix(script, blockchain.WitnessMagicBytes):
		return nil, fmt.Errorf("%s is no witness commitment (BIP141)", text)
	}
	return script, nil
}

// transaction finds or decodes a transaction.
func (o *offer) transaction(hash, data string, before *offer) (*wire.MsgTx, error) {
	id, err := chainhash.NewHashFromStr(hash)
	if err != nil {
		return nil, fmt.Errorf("hash: %w", err)
	}
	if before != nil && before.transactions[*id] != nil {
		o.transactions[*id] = before.transactions[*id]
		return o.transactions[*id], nil
	}
	raw, err := hex.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	tx, err := btcutil.NewTxFromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if got := tx.MsgTx().WitnessHash(); got != *id {
		return nil, fmt.Errorf("the data is that of %s, not of %s", got, id)
	}
	o.transactions[*id] = tx.MsgTx()
	return tx.MsgTx(), nil
}
