package main

import (
	"context"
	"errors"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/balancer"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/lab"
)

// The commands in this file are for the lab itself: it starts this program
// again with them, as the processes that continue to run when it ends.

func becomeNode(args []string) error {
	flags, name := newFlags("become-node")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	return l.BecomeNode(flags.Arg(0))
}

func becomeBalancer(args []string) error {
	flags, name := newFlags("become-balancer")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := lab.Open(*name)
	if err != nil {
		return err
	}
	return l.BecomeBalancer()
}

func balance(args []string) error {
	flags, _ := newFlags("balance")
	listen := flags.String("listen", "", "address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &balancer.Balancer{Log: log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds|log.LUTC)}
	for _, arg := range flags.Args() {
		name, address, ok := strings.Cut(arg, "=")
		if !ok {
			return errors.New("balance: a backend is NAME=ADDRESS")
		}
		b.Backends = append(b.Backends, &balancer.Backend{Name: name, Address: address})
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		os.Exit(0) // open connections end with their load balancer
	}()
	go b.Check(ctx)
	return b.Serve(listener)
}
