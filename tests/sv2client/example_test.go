// How the package is used.

package sv2client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
	"github.com/gopool-sv2/gopool-sv2/tests/sv2client/cpuminer"
)

// Mine ten shares on an extended channel, and go where the pool sends its miners.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	url, err := sv2client.ParseURL(
		"stratum2+tcp://127.0.0.1:3336/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh")
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		err := mineTen(ctx, url)
		var moved *sv2client.ReconnectError
		if !errors.As(err, &moved) {
			fmt.Println("the end:", err)
			return
		}
		url = url.Follow(moved.To)
	}
}

func mineTen(ctx context.Context, url sv2client.URL) (err error) {
	client, err := sv2client.Dial(ctx, url, sv2client.Config{Vendor: "example"})
	if errors.Is(err, sv2client.ErrWrongAuthority) {
		return fmt.Errorf("somebody else answers at %s: %w", url.Address(), err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	request := sv2client.OpenRequest{User: "ADDRESS.rig", HashRate: 3e6}
	channel, err := client.OpenExtended(ctx, request, 4)
	if err != nil {
		return err
	}
	if err := cpuminer.Mine(ctx, channel, cpuminer.Options{Accepted: 10}); err != nil {
		return err
	}
	tally := channel.Tally()
	fmt.Printf("%d of %d shares accepted, rejected: %v\n", tally.Accepted, tally.Submitted,
		tally.Rejected)
	return nil
}

// A message as the bytes of its unencrypted frame, and back.
func ExampleEncode() {
	wire, err := sv2client.Encode(&sv2client.CloseChannel{ChannelID: 7, ReasonCode: "bye"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%x\n", wire)
	message, _, err := sv2client.Decode(wire)
	fmt.Println(sv2client.Name(message), err)
	// Output:
	// 0080180800000700000003627965
	// CloseChannel <nil>
}

// A target as the pools' difficulty.
func ExampleTarget_Difficulty() {
	target, err := sv2client.TargetFromNBits(0x1d00ffff)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(target)
	fmt.Println(target.Difficulty())
	// Output:
	// 00000000ffff0000000000000000000000000000000000000000000000000000
	// 1
}
