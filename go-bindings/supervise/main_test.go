package supervise

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// actAs makes this test binary a child: what of its arguments comes first says what it does. A stand-in is
// needed for what the real sidecar never does.
const actAs = "SUPERVISE_TEST_ACTS_AS"

func TestMain(m *testing.M) {
	if act := os.Getenv(actAs); act != "" {
		os.Exit(child(act))
	}
	goleak.VerifyTestMain(m)
}

// child is a program with the sidecar's commands.
func child(act string) int {
	if os.Args[1] != "serve" {
		if act == "refuses" {
			fmt.Fprintln(os.Stderr, "sidecar.toml:3:1: no such key")
			return exitUsage
		}
		return 0
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println(`{"timestamp":"now","level":"WARN","message":"hello","target":"t","pid":` +
		fmt.Sprint(os.Getpid()) + `,"span":{"name":"conn","id":7,"peer":"p","target":"x"},"spans":[{}]}`)
	fmt.Println("plain \xff words")
	fmt.Println(strings.Repeat("x", 3*maxLine))
	switch act {
	case "ends":
		return 3
	case "is deaf":
		time.Sleep(time.Hour)
	}
	<-stop
	fmt.Println(`{"level":"INFO","message":"last words"}`)
	return 0
}
