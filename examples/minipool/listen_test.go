// Where a pool may listen, and what it refuses to.

package main

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

var certificates = []string{"-tls-ca", "a", "-tls-cert", "b", "-tls-key", "c"}

func TestListenFlagsReachTheSettings(t *testing.T) {
	got, err := parseFlags(append([]string{"-listen", "tls:[::1]:3337", "-tls-name", "n", "-tls-name", "m"},
		certificates...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if address, ok := got.listen.cut(carrierTLS); !ok || address != "[::1]:3337" {
		t.Errorf("address is %q, %v", address, ok)
	}
	if files := got.tls; files.CAFile != "a" || files.CertificateFile != "b" || files.KeyFile != "c" ||
		!slices.Equal(files.AllowNames, []string{"n", "m"}) {
		t.Errorf("TLS is %+v", files)
	}
}

func TestRejectsListenersWithTheRemedy(t *testing.T) {
	secured := " " + strings.Join(certificates, " ")
	for args, wants := range map[string][]string{
		"-listen 127.0.0.1:3337":                  {"tls:HOST:PORT"},
		"-listen unix:/a":                         {"-socket is for a Unix socket"},
		"-listen tls:127.0.0.1":                   {"no address with a port"},
		"-listen tls:127.0.0.1:":                  {"no address with a port"},
		"-listen tcp:0.0.0.0:1 -allow-plain-tcp":  {"only a loopback address"},
		"-listen tcp:10.0.0.1:1 -allow-plain-tcp": {"only a loopback address"},
		"-listen tcp:localhost:1":                 {"only a loopback address"},
		"-listen tcp:127.0.0.1:1":                 {"-allow-plain-tcp"},
		"-listen tls:127.0.0.1:1":                 {"needs -tls-ca", "needs -tls-cert", "needs -tls-key"},
		"-listen tls:127.0.0.1:1 -socket s":       {"give one of them", "needs -tls-ca"},
		"-tls-ca a -tls-name n":                   {"-tls-ca is for -listen tls", "-tls-name is for"},
		"-listen tcp:127.0.0.1:1" + secured:       {"-allow-plain-tcp", "-tls-key is for -listen tls"},
	} {
		_, err := parseFlags(strings.Fields(args), io.Discard)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant a word of %q", args, err, want)
			}
		}
	}
}

func TestListensInTheClearWhenAsked(t *testing.T) {
	args := []string{"-listen", "tcp:127.0.0.1:0", "-allow-plain-tcp", "-network-bits", blockBits}
	settings, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := &logs{}
	pool, err := start(settings, newLogger(settings, log))
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`listens=(127\.0\.0\.1:\d+)`).FindStringSubmatch(log.String())
	if at == nil {
		t.Fatalf("the log doesn't say where it listens:\n%s", log)
	}
	conn, err := grpc.NewClient(at[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	cancel()
	_ = conn.Close()
	if err != nil {
		t.Error(err)
	}
	if err := pool.stop(patience); err != nil {
		t.Error(err)
	}
}

func TestRefusesToStartWithoutItsCertificates(t *testing.T) {
	args := append([]string{"-listen", "tls:127.0.0.1:0", "-network-bits", blockBits}, certificates...)
	settings, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = start(settings, newLogger(settings, io.Discard))
	for _, want := range []string{"CAFile a: no such file", "CertificateFile b: no", "KeyFile c: no such file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoesn't say %q", err, want)
		}
	}
}
