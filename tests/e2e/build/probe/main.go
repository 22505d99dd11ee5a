// Command probe is everything that runs in the pods of the tests: one static program, so that an
// image needs nothing else. As "pause" it is also what holds a pod's namespaces.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 3 * time.Second

var commands = map[string]func([]string) error{
	"allocate": allocate,
	"count":    count,
	"dial":     dial,
	"exit":     exit,
	"get":      get,
	"pause":    pause,
	"reach":    reach,
	"read":     read,
	"resolve":  resolve,
	"say":      say,
	"serve":    serve,
	"write":    write,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "probe: which of %v?\n", commands)
		os.Exit(64)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "probe: %v\n", err)
		os.Exit(1)
	}
}

// say prints its words.
func say(words []string) error {
	fmt.Println(strings.Join(words, " "))
	return nil
}

// exit ends with a code.
func exit(words []string) error {
	code, err := strconv.Atoi(words[0])
	if err == nil {
		os.Exit(code)
	}
	return err
}

// pause waits for a signal, and as a first process collects the others.
func pause([]string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return nil
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
	return nil
}

// count prints a number ten times a second, to whoever looks whether it still lives.
func count([]string) error {
	for number := 1; ; number++ {
		fmt.Println(number)
		time.Sleep(100 * time.Millisecond)
	}
}

// serve answers every request with its path, on an address such as :8080.
func serve(words []string) error {
	return http.ListenAndServe(words[0], http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(answer, "served %s\n", request.URL.Path)
	}))
}

// get prints what an address answers.
func get(words []string) error {
	client := http.Client{Timeout: patience}
	answer, err := client.Get(words[0])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// reach prints what an address answers, as soon as it answers: a Service's first pods need a
// moment to be known everywhere.
func reach(words []string) error {
	for end := time.Now().Add(10 * patience); ; time.Sleep(100 * time.Millisecond) {
		if err := get(words); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// resolve prints the addresses of a name.
func resolve(words []string) error {
	within, done := context.WithTimeout(context.Background(), patience)
	defer done()
	found, err := net.DefaultResolver.LookupHost(within, words[0])
	if err == nil {
		fmt.Println(strings.Join(found, "\n"))
	}
	return err
}

// dial opens a TCP connection to host:port.
func dial(words []string) error {
	connection, err := net.DialTimeout("tcp", words[0], patience)
	if err == nil {
		err = connection.Close()
	}
	return err
}

// read prints a file.
func read(words []string) error {
	text, err := os.ReadFile(words[0])
	os.Stdout.Write(text)
	return err
}

// write makes a file of the given words.
func write(words []string) error {
	return os.WriteFile(words[0], []byte(strings.Join(words[1:], " ")), 0o644)
}

// allocate takes so many megabytes, touches all of them, and holds them.
func allocate(words []string) error {
	megabytes, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	taken := make([]byte, megabytes<<20)
	for at := 0; at < len(taken); at += 4096 {
		taken[at] = 1
	}
	fmt.Println("took", len(taken)>>20, "MB")
	return pause(nil)
}
