// A MongoDB for tests on machines that have none: FerretDB, which keeps each database in an SQLite file of a folder.
//
// FerretDB 1.24 reads, changes and writes back a document in separate steps, so concurrent updates of one document
// get lost (of 400 concurrent $inc 40 were left), where MongoDB's are atomic. Clients therefore talk to a relay that
// lets one command through at a time. It can also pretend that the database's clock is wrong.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

var (
	listen = flag.String("listen", "127.0.0.1:27017", "address for clients")
	dir    = flag.String("dir", "", "existing folder that holds the databases; without it, one that lasts as long as this runs")
	ahead  = flag.Duration("ahead", 0, "how far the database's clock is ahead")

	turn sync.Mutex // held while a command is carried out
)

func main() {
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // it would name every connection
	own := ""
	if *dir == "" {
		var err error
		own, err = os.MkdirTemp("", "ferretdb-")
		check(err)
		*dir = own
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + *dir + "/",
	})
	check(err)
	go db.Run(context.Background())
	inner, err := url.Parse(db.MongoDBURI())
	check(err)
	listener, err := net.Listen("tcp", *listen)
	check(err)
	go func() { // whoever started it is gone when its standard input ends
		io.Copy(io.Discard, os.Stdin)
		if own != "" {
			os.RemoveAll(own)
		}
		os.Exit(0)
	}()
	for {
		client, err := listener.Accept()
		check(err)
		server, err := net.Dial("tcp", inner.Host)
		check(err)
		go relay(client, server)
	}
}

// relay passes each command of a client to the server and its answer back, until either of them is gone.
func relay(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	for {
		command, err := message(client)
		if err != nil {
			return
		}
		answer, err := ask(server, command)
		if err != nil {
			return
		}
		if _, err = client.Write(answer); err != nil {
			return
		}
	}
}

func ask(server net.Conn, command []byte) ([]byte, error) {
	turn.Lock()
	defer turn.Unlock()
	if _, err := server.Write(command); err != nil {
		return nil, err
	}
	answer, err := message(server)
	if key := []byte("\x09localTime\x00"); bytes.Contains(answer, key) {
		value := answer[bytes.Index(answer, key)+len(key):]
		binary.LittleEndian.PutUint64(value, uint64(time.Now().Add(*ahead).UnixMilli()))
	}
	return answer, err
}

// message reads one message of MongoDB's wire protocol, which begins with its length.
func message(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	text := make([]byte, binary.LittleEndian.Uint32(length[:]))
	copy(text, length[:])
	_, err := io.ReadFull(from, text[4:])
	return text, err
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
