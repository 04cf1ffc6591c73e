// Command testbox is the program of the image that pods of tests run. It needs
// nothing but itself, so its image has no shell and no library.
//
//	testbox sleep [DURATION]           do nothing, for ever without a duration
//	testbox serve [ADDRESS]            answer HTTP requests with the pod's host name, on :8080
//	testbox get URL                    print what one request brings
//	testbox probe [-rate N] [-for D] [-keep-alive] [-token] URL
//	                                   ask again and again, print counts as JSON
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("a command is missing: sleep, serve, get or probe")
	}
	command, args := args[0], args[1:]
	switch command {
	case "sleep":
		return sleep(ctx, args)
	case "serve":
		return serve(ctx, args)
	case "get":
		return get(ctx, args)
	case "probe":
		result, err := probe(ctx, args)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(result)
	default:
		return fmt.Errorf("command %q is not one of sleep, serve, get, probe", command)
	}
}

func sleep(ctx context.Context, args []string) error {
	if len(args) == 0 {
		<-ctx.Done()
		return nil
	}
	duration, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
	return nil
}

func serve(ctx context.Context, args []string) error {
	address := ":8080"
	if len(args) > 0 {
		address = args[0]
	}
	name, _ := os.Hostname()
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, name)
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("get needs one URL")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	response, err := newClient(false).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
