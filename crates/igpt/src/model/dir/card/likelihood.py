
# The log-likelihood of each pixel given those before it, in nats.
log_likelihood = torch.log_softmax(out.logits, -1).gather(2, tokens[:, :, None])[0, :, 0]
print("log-likelihood:", log_likelihood.mean().item(), "nats per pixel")

# A new picture, and the upper half of the given one completed; generation_config.json says how tokens are drawn.
drawn = model.generate(sos)[0, 1:]
to_picture(drawn).save("drawn.png")
half = height // 2 * width
completed = model.generate(inputs[:, : 1 + half])[0, 1:]
to_picture(completed).save("completed.png")
