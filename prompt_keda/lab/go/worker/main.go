// worker behaves like a Prompt Processing worker: it takes fanned-out events from a Redis stream as a member of a
// consumer group, acknowledges each before it processes it, works several rounds, and ends when nothing comes any more.
//
// Called as "pause" it does nothing until it is stopped: the process that holds a pod's namespaces.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

type settings struct {
	address, password, stream, group, consumer string
	listen, work, retry                        time.Duration
	rounds                                     int
	tls                                        *tls.Config
}

func main() {
	if filepath.Base(os.Args[0]) == "pause" {
		pause()
		return
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := read()
	if err == nil {
		err = serve(ctx, s, log)
	}
	switch {
	case ctx.Err() != nil:
		log.Error("killed: a visit in work is lost")
		os.Exit(143)
	case err != nil:
		log.Error(err.Error())
		os.Exit(1)
	}
}

func pause() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}

func read() (settings, error) {
	host := os.Getenv("REDIS_STREAM_HOST")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "6379")
	}
	name, _ := os.Hostname()
	trust, err := trusted()
	return settings{
		tls:     trust,
		address: host, password: os.Getenv("REDIS_PASSWORD"), consumer: name,
		stream: os.Getenv("REDIS_STREAM_NAME"), group: os.Getenv("REDIS_STREAM_CONSUMER_GROUP"),
		listen: seconds("FANNED_OUT_MSG_LISTEN_TIMEOUT", 900), work: seconds("WORK_TIME", 1),
		retry: seconds("REDIS_RETRY_DELAY", 30), rounds: int(seconds("WORKER_RESTART_FREQ", 10) / time.Second),
	}, err
}

// trusted says how Redis is verified: its name is the host of its address. None: Redis without TLS.
func trusted() (*tls.Config, error) {
	if os.Getenv("REDIS_TLS") != "true" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if pem := os.Getenv("REDIS_TLS_CA"); pem != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, errors.New("REDIS_TLS_CA holds no certificate")
		}
	}
	return config, nil
}

// seconds reads a number of seconds, such as "0.5", from the environment.
func seconds(name string, otherwise float64) time.Duration {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		value = otherwise
	}
	return time.Duration(value * float64(time.Second))
}

func serve(ctx context.Context, s settings, log *slog.Logger) error {
	client := redis.NewClient(&redis.Options{
		Addr: s.address, Password: s.password, Protocol: 2, ReadTimeout: s.listen + 10*time.Second,
		TLSConfig: s.tls,
	})
	defer client.Close()
	for round := 1; round <= s.rounds; {
		id, err := take(ctx, client, s)
		switch {
		case err == nil:
			log.Info("working", "event", id, "round", round)
			if !sleep(ctx, s.work) {
				return ctx.Err()
			}
			log.Info("done", "event", id, "round", round)
			round++
		case errors.Is(err, redis.Nil):
			log.Info("no event came: the worker ends", "rounds", round-1)
			return nil
		case strings.Contains(err.Error(), "NOGROUP"), strings.Contains(err.Error(), "NOAUTH"),
			strings.Contains(err.Error(), "WRONGPASS"):
			return err
		default:
			log.Warn("Redis does not answer: trying again", "error", err.Error())
			if !sleep(ctx, s.retry) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// take reads one event and acknowledges it at once, before any work, as the real worker does.
func take(ctx context.Context, client *redis.Client, s settings) (string, error) {
	streams, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: s.group, Consumer: s.consumer, Streams: []string{s.stream, ">"}, Count: 1, Block: s.listen,
	}).Result()
	if err != nil {
		return "", err
	}
	id := streams[0].Messages[0].ID
	if err := client.XAck(ctx, s.stream, s.group, id).Err(); err != nil {
		return "", fmt.Errorf("XACK %s: %w", id, err)
	}
	return id, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
