// SPDX-License-Identifier: Apache-2.0

// Command whoami is the workload behind a virtual IP in the demo and the tests: a
// server that answers every request with the name of the node it runs on, over
// HTTP and, one datagram for each, over UDP on the same port.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", ":80", "address and port to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, name()); err != nil {
		slog.Error("whoami ends", "err", err)
		os.Exit(1)
	}
}

// name is the node's name from the downward API, else the machine's.
func name() string {
	if n := os.Getenv("NODE_NAME"); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return n
}

// run serves until ctx ends.
func run(ctx context.Context, listen, name string) error {
	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	defer packets.Close()
	server := &http.Server{
		Addr:              listen,
		Handler:           answer(name),
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 2)
	go func() { failed <- echo(packets, name) }()
	go func() { failed <- server.ListenAndServe() }()
	slog.Info("serving", "listen", listen, "name", name)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(shutdown)
}

// answer names the node, and tells the client's address as it arrived here: it
// must be the client's own. The query wait=DURATION delays the answer's end, by
// which tests hold a connection open.
func answer(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Client-Address", r.RemoteAddr)
		fmt.Fprintln(w, name)
		wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
		if err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(wait):
			fmt.Fprintln(w, name)
		}
	})
}

// echo answers each datagram with the node's name.
func echo(packets net.PacketConn, name string) error {
	const largest = 64 << 10
	buffer := make([]byte, largest)
	for {
		_, from, err := packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := packets.WriteTo([]byte(name+"\n"), from); err != nil {
			slog.Warn("answering failed", "to", from.String(), "err", err)
		}
	}
}
