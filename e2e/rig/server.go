// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// serverConfig configures the role of a server.
type serverConfig struct {
	// Name is what the server answers with.
	Name string
}

// OtherPort is a second port of the servers that no rule of the rig covers; SecondPort and ThirdPort are for rules of
// tests.
const (
	OtherPort  = 8080
	SecondPort = 8081
	ThirdPort  = 8082
)

// maxDatagram is the longest there can be.
const maxDatagram = 1 << 16

// download is a line that asks the server for as many bytes as the number that follows.
const download = "download "

// runServer answers on all addresses of the host: a line of text with its name and the line, an HTTP
// request with its name, a datagram with its name and the datagram.
func runServer(config string) error {
	var c serverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	failed := make(chan error)
	for _, port := range []int{HTTPPort, OtherPort, SecondPort, ThirdPort} {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
		if err != nil {
			return err
		}
		go func() { failed <- serveConnections(listener, c.Name) }()
		for _, network := range []string{"udp4", "udp6"} {
			packets, err := net.ListenUDP(network, &net.UDPAddr{Port: port})
			if err != nil {
				return err
			}
			go func() { failed <- servePackets(packets, c.Name) }()
		}
	}
	return <-failed
}

func serveConnections(listener net.Listener, name string) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go serveLines(conn, name)
	}
}

func serveLines(conn net.Conn, name string) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewScanner(conn)
	for first := true; in.Scan(); first = false {
		line := in.Text()
		if first && strings.Contains(line, " HTTP/1.") {
			body := name + "\n"
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
			return
		}
		if size, err := strconv.Atoi(strings.TrimPrefix(line, download)); err == nil {
			_, _ = conn.Write(make([]byte, size))
			return
		}
		if _, err := fmt.Fprintf(conn, "%s %s\n", name, line); err != nil {
			return
		}
	}
}

// servePackets answers to the sender; the kernel takes the address the datagram came to only if asked to, and a
// socket bound to no address would answer from the host's own. So it asks.
func servePackets(conn *net.UDPConn, name string) error {
	if err := receiveDestination(conn); err != nil {
		return err
	}
	buf, oob := make([]byte, maxDatagram), make([]byte, 64)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDP(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		_, _, _ = conn.WriteMsgUDP(append([]byte(name+" "), buf[:n]...), sourceOf(oob[:oobn]), from)
	}
}
