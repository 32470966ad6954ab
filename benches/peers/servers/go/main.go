// net/http with Shutdown on SIGTERM. The bench sets GOMAXPROCS=1.
package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const hello = "Hello, World!"

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/plaintext", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, hello)
	})
	mux.HandleFunc("/delay/", func(w http.ResponseWriter, r *http.Request) {
		millis, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/delay/"))
		time.Sleep(time.Duration(millis) * time.Millisecond)
		io.WriteString(w, hello)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: mux}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	drained := make(chan error)
	go func() {
		<-stop
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		drained <- server.Shutdown(limit)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		panic(err)
	}
	if <-drained != nil {
		os.Exit(1)
	}
}
