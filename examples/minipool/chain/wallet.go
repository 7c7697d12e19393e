// The wallet, whose transactions fill the templates.

package chain

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/mempool"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	walletFeeRate    = 5      // satoshis per virtual byte
	walletMinOutput  = 10_000 // satoshis; smaller outputs aren't made
	walletCoins      = 12     // confirmed outputs the wallet splits its coinbases into
	walletSplit      = 4      // outputs of a splitting transaction
	walletMaxPending = 8      // transactions of the wallet in the mempool: signed and checked before a tip is told

	maxSignatureLen = 72 // DER signature with a low S, and the hash type
)

// wallet spends what coinbases pay to its one P2WPKH key, always back to that key: it is there so
// that blocks carry real transactions. Chain.mu guards it, but for script, which is constant.
type wallet struct {
	key    *btcec.PrivateKey
	script []byte
	coins  map[wire.OutPoint]coin
}

// coin is a confirmed, unspent output of the wallet.
type coin struct {
	outpoint wire.OutPoint
	value    int64 // satoshis
	height   int32
	coinbase bool
}

func newWallet(key *btcec.PrivateKey, params *chaincfg.Params) (*wallet, error) {
	keyHash := address.Hash160(key.PubKey().SerializeCompressed())
	addr, err := address.NewAddressWitnessPubKeyHash(keyHash, params)
	if err != nil {
		return nil, fmt.Errorf("wallet address: %w", err)
	}
	script, err := txscript.PayToAddrScript(addr)
	if err != nil {
		return nil, fmt.Errorf("wallet script: %w", err)
	}
	return &wallet{key: key, script: script, coins: make(map[wire.OutPoint]coin)}, nil
}

func (w *wallet) reset() { clear(w.coins) }

// scan books the outputs and the spends of a block at the tip.
func (w *wallet) scan(block *btcutil.Block, height int32) {
	for i, tx := range block.Transactions() {
		for _, in := range tx.MsgTx().TxIn {
			delete(w.coins, in.PreviousOutPoint)
		}
		for index, out := range tx.MsgTx().TxOut {
			if string(out.PkScript) != string(w.script) {
				continue
			}
			outpoint := wire.OutPoint{Hash: *tx.Hash(), Index: uint32(index)}
			w.coins[outpoint] = coin{
				outpoint: outpoint, value: out.Value, height: height, coinbase: i == 0,
			}
		}
	}
}

// fillMempool spends every coin that is mature at nextHeight and not yet spent in the mempool, up
// to walletMaxPending transactions. A coinbase is split while the wallet has few coins, later it is
// merged with the smallest one, so that the number of coins stays bounded; other coins move on.
func (w *wallet) fillMempool(pool *mempool.TxPool, nextHeight int32, log *slog.Logger) {
	coinbases, plain := w.spendable(pool, nextHeight)
	confirmed := 0
	for _, c := range w.coins {
		if !c.coinbase {
			confirmed++
		}
	}
	spend := func(outputs int, inputs ...coin) {
		tx, err := w.spend(outputs, inputs)
		if err == nil {
			_, err = pool.ProcessTransaction(btcutil.NewTx(tx), false, false, 0)
		}
		if err != nil {
			log.Warn("wallet transaction not accepted", "input", inputs[0].outpoint, "err", err)
		}
	}
	free := walletMaxPending - pool.Count()
	for _, c := range coinbases {
		if free <= 0 {
			return
		}
		switch {
		case confirmed < walletCoins && c.value >= 2*walletSplit*walletMinOutput:
			spend(walletSplit, c)
			confirmed += walletSplit
		case len(plain) > 0 && c.value+plain[0].value >= 2*walletMinOutput:
			spend(1, c, plain[0])
			plain = plain[1:]
		case c.value >= 2*walletMinOutput:
			spend(1, c)
		default:
			continue // too small alone; it waits for a coin to merge with
		}
		free--
	}
	for _, c := range plain {
		if free <= 0 {
			return
		}
		if c.value >= 2*walletMinOutput {
			spend(1, c)
			free--
		}
	}
}

// spendable returns the coins that can be spent now: coinbases by age, the others by value.
func (w *wallet) spendable(pool *mempool.TxPool, nextHeight int32) (coinbases, plain []coin) {
	for _, c := range w.coins {
		if pool.CheckSpend(c.outpoint) != nil {
			continue
		}
		switch {
		case !c.coinbase:
			plain = append(plain, c)
		case nextHeight-c.height >= CoinbaseMaturity:
			coinbases = append(coinbases, c)
		}
	}
	byOutpoint := func(a, b coin) int {
		return cmp.Or(
			slices.Compare(a.outpoint.Hash[:], b.outpoint.Hash[:]),
			cmp.Compare(a.outpoint.Index, b.outpoint.Index),
		)
	}
	slices.SortFunc(coinbases, func(a, b coin) int {
		return cmp.Or(cmp.Compare(a.height, b.height), byOutpoint(a, b))
	})
	slices.SortFunc(plain, func(a, b coin) int {
		return cmp.Or(cmp.Compare(a.value, b.value), byOutpoint(a, b))
	})
	return coinbases, plain
}

// spend makes a signed transaction that pays the inputs, less the fee, back in equal outputs.
func (w *wallet) spend(outputs int, inputs []coin) (*wire.MsgTx, error) {
	tx := wire.NewMsgTx(2)
	total := int64(0)
	prevOuts := make(map[wire.OutPoint]*wire.TxOut, len(inputs))
	widest := wire.TxWitness{
		make([]byte, maxSignatureLen), make([]byte, btcec.PubKeyBytesLenCompressed),
	}
	for _, in := range inputs {
		total += in.value
		prevOuts[in.outpoint] = wire.NewTxOut(in.value, w.script)
		tx.AddTxIn(wire.NewTxIn(&in.outpoint, nil, widest))
	}
	for range outputs {
		tx.AddTxOut(wire.NewTxOut(0, w.script))
	}
	fee := walletFeeRate * mempool.GetTxVirtualSize(btcutil.NewTx(tx))
	each := (total - fee) / int64(outputs)
	if each < walletMinOutput {
		return nil, fmt.Errorf("%d satoshis are too few for %d outputs", total, outputs)
	}
	for _, out := range tx.TxOut {
		out.Value = each
	}
	tx.TxOut[0].Value += (total - fee) % int64(outputs)

	sigHashes := txscript.NewTxSigHashes(tx, txscript.NewMultiPrevOutFetcher(prevOuts))
	for i, in := range inputs {
		witness, err := txscript.WitnessSignature(
			tx, sigHashes, i, in.value, w.script, txscript.SigHashAll, w.key, true)
		if err != nil {
			return nil, fmt.Errorf("sign input %d: %w", i, err)
		}
		tx.TxIn[i].Witness = witness
	}
	return tx, nil
}

// isDuplicate reports whether btcd refused a block because it has it already.
func isDuplicate(err error) bool {
	var rule blockchain.RuleError
	return errors.As(err, &rule) && rule.ErrorCode == blockchain.ErrDuplicateBlock
}
